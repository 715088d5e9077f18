"""What somebody writes down in prose counts like the same in ``observed.yaml``; pages about a project tell nothing."""

import json
import math

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.cli import group
from holter.readers import read
from holter.readers.accounts import Voice, voice_of
from holter.readers.fenced import is_log_line, kind_of
from holter.readers.markdown_text import read_markdown
from holter.readers.roles import Role, told_role
from holter.run import Authority

WRITTEN = "loss: nan\ngrad norm: 0.0\nrows in test also in train: 900\noutput: the same word again and again\n"


def run_of(folder, text, name="issue.md"):
    (folder / name).write_text(text, encoding="utf-8")
    return read([folder])


def entries(form, sep=": "):
    return [form.format(key=key, value=value) for key, value in (line.split(sep) for line in WRITTEN.splitlines())]


FORMS = {
    "bullets": ("issue.md", "# What I see\n\n" + "\n".join(entries("- {key}: {value}"))),
    "numbers": ("notes.md", "\n".join(f"{at}. {line}" for at, line in enumerate(entries("{key}: {value}"), 1))),
    "lines": ("notes.txt", WRITTEN),
    "no suffix": ("NOTES", WRITTEN),
    "bold keys": ("bug.md", "\n\n".join(entries("**{key}**: {value}"))),
    "colon in bold": ("bug.md", "\n".join(entries("* **{key}:** {value}"))),
    "equals signs": ("note.txt", "\n".join(entries("{key} = {value}"))),
    "code keys": ("issue.md", "\n".join(entries("- `{key}` = {value}"))),
    "arrows": ("issue.md", "\n".join(entries("- {key} -> {value}"))),
    "a form": (
        "README.md",
        "# Training fails at the first step\n\n### Actual behavior\n\n" + "\n".join(entries("- {key}: {value}")),
    ),
    "first person": ("run.md", "I ran it twice and got\n\n" + "\n".join(entries("- {key}: {value}"))),
}


@pytest.mark.parametrize("form", FORMS)
def test_pairs_are_observations_in_every_form(tmp_path, form):
    name, text = FORMS[form]
    run = run_of(tmp_path, text, name)
    assert math.isnan(run.series["loss"][0]) and list(run.series["grad_norm"].values) == [0.0]
    assert run.fact("rows_in_test_also_in_train").value == 900
    told = run.fact("output")
    assert (told.value, told.authority) == ("the same word again and again", Authority.FACT)
    line = next(at for at, written in enumerate(text.splitlines(), 1) if "output" in written)
    assert (told.source.file, told.source.line) == (name, line)


def test_a_paragraph_of_sentences(tmp_path):
    text = (
        "Hi all,\n\nI trained the model as usual with the defaults of the recipe. The grad norm is nan. The eval\n"
        "loss is 2.5. Every answer is the same word. Between runs: scores differ by 5 percent.\n\nThanks,\nSam\n"
    )
    run = run_of(tmp_path, text, "mail.txt")
    assert math.isnan(run.series["grad_norm"][0]) and run.series["eval_loss"][0] == 2.5
    assert run.fact("between_runs").value == "scores differ by 5 percent"
    told = [value.value for value in run.facts["observed"]]
    assert told == ["I trained the model as usual with the defaults of the recipe.", "Every answer is the same word."]
    assert run.facts["observed"][0].source.line == 3


def test_entries_below_an_entry_belong_to_it(tmp_path):
    run = run_of(
        tmp_path, "What happens:\n\n- fp16:\n  - final score: 0.5\n- fp32:\n  - final score: 0.9\n", "notes.md"
    )
    assert (run.fact("fp16.final_score").value, run.fact("fp32.final_score").value) == (0.5, 0.9)


def test_values_with_their_steps_become_a_series(tmp_path):
    loss = run_of(tmp_path, "- loss at step 10: 2.5\n- loss at step 20: nan\n").series["loss"]
    assert list(loss.steps) == [10.0, 20.0] and math.isnan(loss[1])


def test_several_values_of_one_line_with_their_places(tmp_path):
    text = "Run 3:\n\n* eval loss = 0.45 after epoch 1, 0.61 after epoch 2\n"
    found = run_of(tmp_path, text, "notes.md").series["eval_loss"]
    assert (list(found.epochs), list(found.values)) == ([1.0, 2.0], [0.45, 0.61])


SIGNS = "a :=-*#`>|[(<!.\n1\te\u2192_"


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=SIGNS, max_size=300))
def test_any_note_is_taken(text):
    run = read_markdown("- seed: 3\n\n" + text, "notes.txt", voice=Voice.TOLD)
    assert run.get("seed") == 3


@pytest.mark.parametrize("sign", ["1", "#\n", "| ", " ", "a ", "a: ", "(", "- a\n", "1 ", "e=1 ", "\t", "`"])
def test_many_of_one_sign_are_taken(sign):
    text = "I ran it.\n" + sign * 900 + "x\n\n- loss: nan\n"
    assert voice_of("notes.md", text) in Voice
    assert math.isnan(read_markdown(text, "notes.md", voice=Voice.TOLD).series["loss"][0]) or sign == "`"


def test_names_that_begin_like_advice_are_names(tmp_path):
    run = run_of(
        tmp_path, "- use cache: true\n- expected loss: 0.5\n- other answers: run to the limit\n- fix: none yet\n"
    )
    assert run.fact("use_cache").value is True and run.fact("expected_loss").value == 0.5
    assert run.fact("other_answers").value == "run to the limit" and run.fact("fix") is None


def test_a_rate_of_zero_was_seen_and_not_set(tmp_path):
    run = run_of(tmp_path, "- learning rate: 0\n")
    assert run.series["learning_rate"][0] == 0.0 and run.setting("learning_rate") is None


class TestWhatWasNotSeen:
    @pytest.mark.parametrize(
        "text",
        [
            "### Actual behavior\n\nIt stops early.\n\n### Expected behavior\n\n{said}\n",
            "If you change the rate too much, {said}",
            "Make sure that nobody reports that {said}",
            "I suspect that {said}",
            "I checked that it is not so that {said}",
            "It may be that {said}",
            "> {said}",
            "- [ ] {said}",
            "<!-- {said} -->",
            "<!--\nTell us what happens, e.g.\n{said}\n-->",
        ],
    )
    def test_wishes_advice_guesses_and_hints_are_not_told(self, tmp_path, text):
        run = run_of(tmp_path, "I ran the script.\n\n" + text.format(said="the loss becomes nan after ten steps"))
        assert "loss becomes nan" not in repr(run.facts)

    def test_what_stands_behind_but_is_told(self, tmp_path):
        run = run_of(tmp_path, "I expected the loss to go down, but it stays at 0.69 for ever.")
        assert [value.value for value in run.facts["observed"]] == ["it stays at 0.69 for ever."]

    @pytest.mark.parametrize(
        ("headings", "lead", "role"),
        [
            (["Expected behavior"], "", Role.PROPOSED),
            (["Actual behavior"], "", Role.RAN),
            (["Possible fix"], "", Role.PROPOSED),
            ([], "With version 4.40 it works:", Role.OTHER),
            ([], "It does not work:", Role.RAN),
            ([], "After 200 steps:", Role.RAN),
            ([], "What I tried:", Role.RAN),
            ([], "For comparison, the log of a good run:", Role.OTHER),
            ([], "The actual output, not the expected one:", Role.RAN),
        ],
    )
    def test_roles(self, headings, lead, role):
        assert told_role(headings, lead) is role

    def test_a_working_run_is_not_this_run(self, tmp_path):
        text = (
            "### Actual behavior\n\nIt prints\n\n```\nstep 10 loss 9.5\nstep 20 loss nan\n```\n\n"
            "With the old version it works:\n\n```\nstep 10 loss 2.5\nstep 20 loss 2.0\n```\n"
        )
        run = run_of(tmp_path, text)
        assert run.series["loss"][0] == 9.5 and not run.other_series


class TestSetUp:
    def test_a_lead_in_holds_for_its_whole_list(self, tmp_path):
        text = (
            "**Environment:**\n- GPU: V100\n- precision: fp16\n- launcher: torchrun\n- torch: 1.13\n\nIt hangs here.\n"
        )
        run = run_of(tmp_path, text)
        assert run.get("versions.torch") == "1.13" and list(run.facts) == ["observed"]

    def test_lines_of_a_mail_set_what_entries_set(self, tmp_path):
        run = run_of(tmp_path, "From: Kim\n\nlr = 0.01\noptimizer = SGD\nloss = 1.5\n", "mail.txt")
        assert (run.get("learning_rate"), run.get("optim")) == (0.01, "sgd")
        assert run.series["loss"][0] == 1.5 and run.fact("from") is None

    def test_settings_named_in_passing(self, tmp_path):
        run = run_of(tmp_path, "- lr 5e-5, batch size 16, 3 epochs\n- acc 0.5, loss 2.5\n", "notes.md")
        assert (run.get("learning_rate"), run.get("per_device_train_batch_size")) == (5e-5, 16)
        assert run.setting("loss") is None

    TEXT = (
        "### System Info\n\n- `transformers` version: 4.41.2\n- PyTorch version (GPU?): 2.3.0+cu121 (True)\n"
        "- fp16: true\n- launcher: torchrun\n\n### Actual behavior\n\nIt hangs after the first epoch.\n"
    )

    def test_an_environment_is_set_and_not_seen(self, tmp_path):
        run = run_of(tmp_path, self.TEXT)
        assert (run.get("versions.transformers"), run.get("versions.torch")) == ("4.41.2", "2.3.0+cu121")
        assert run.get("fp16") is True and run.setting("fp16").authority is Authority.PROSE
        assert [value.value for value in run.facts["observed"]] == ["It hangs after the first epoch."]


LOG = "{'loss': 2.5, 'grad_norm': 1.0, 'epoch': 0.1}\n{'loss': nan, 'grad_norm': nan, 'epoch': 0.2}"
ERROR = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n    main()\nValueError: bad shape'
WRAPS = {
    "fence": "Output:\n\n```\n{}\n```\n",
    "console": "I ran it and got\n\n```console\n$ python train.py --fp16\n{}\n```\n",
    "bash": "The log:\n\n```bash\n{}\n```\n",
    "python": "The log:\n\n```python\n{}\n```\n",
    "another word": "The log:\n\n``` stdout\n{}\n```\n",
    "tildes": "Output:\n\n~~~log\n{}\n~~~\n",
    "details": "<details>\n<summary>Full log</summary>\n\n```text\n{}\n```\n\n</details>\n",
    "no fence": "This is my log\n\n{}\n\nAny ideas?\n",
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_log_is_a_log_however_it_is_quoted(tmp_path, wrap):
    run = run_of(tmp_path, WRAPS[wrap].format(LOG))
    assert run.series["loss"][0] == 2.5 and math.isnan(run.series["loss"][1])
    assert list(run.series["loss"].epochs) == [0.1, 0.2]
    assert not any("loss" in str(value.value) for values in run.facts.values() for value in values)


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_traceback_is_one_however_it_is_quoted(tmp_path, wrap):
    run = run_of(tmp_path, WRAPS[wrap].format(ERROR))
    assert any("ValueError: bad shape" in event.text for event in run.events_of("error"))


def test_an_indented_log_with_blank_lines_is_one_log(tmp_path):
    text = "What I get:\n\n    Epoch 1: loss=2.5 acc=0.1\n\n    Epoch 2: loss=2.0 acc=0.2\n"
    run = run_of(tmp_path, text, "notes.md")
    assert list(run.series["loss"].values) == [2.5, 2.0] and not run.other_series
    assert list(run.series["loss"].lines) == [3, 5]


CODE = "# the loop\nfor batch in loader:\n    loss = model(**batch).loss\n    loss.backward()\n\n    optimizer.step()"


@pytest.mark.parametrize("wrap", ["```\n{}\n```\n", "~~~py\n{}\n~~~\n", "{}\n"])
def test_code_is_code_however_it_is_quoted(tmp_path, wrap):
    (code,) = run_of(tmp_path, "My code:\n\n" + wrap.format(CODE)).code
    assert [call.name for call in code.calls if call.loop_depth] == ["model", "loss.backward", "optimizer.step"]
    assert code.named("backward")[0].source.line == (6 if wrap == "{}\n" else 7)


def test_code_with_its_traceback_is_both(tmp_path):
    run = run_of(tmp_path, f"I run\n\n```python\n{CODE}\n{ERROR}\n```\n")
    assert run.code[0].named("step") and run.events_of("error")


@pytest.mark.parametrize(
    ("text", "language", "kind"),
    [
        ("labels[~masked] = -1", "python", "python"),
        ("loss.backward()\noptimizer.step()", "", "python"),
        ("epoch 1 loss 2.5\nepoch 2 loss 2.1", "python", "log"),
        ("tensor([nan, nan], grad_fn=<MulBackward0>)", "", "log"),
        ("learning_rate: 1e-4", "yaml", "settings"),
        ("{'loss': 2.5, 'epoch': 1.0}", "json", "log"),
        ("SELECT loss FROM runs", "sql", "other"),
        ("torchrun train.py --fp16", "", "shell"),
    ],
)
def test_kinds_of_blocks(text, language, kind):
    assert kind_of(text, language) == kind


@pytest.mark.parametrize(
    "line", ["The loss is nan after epoch 3.", "error: shapes differ", "loss fp16: nan", "Epoch loss"]
)
def test_what_a_person_writes_is_no_line_of_a_log(line):
    assert not is_log_line(line)


PAGES = {
    "README.md": (
        "# trainer\n\nFine-tunes models with LoRA. We support fp16.\n\n## Features\n\n- Resume from any checkpoint\n\n"
        "## Usage\n\n```bash\npython train.py --config c.yaml\n```\n\n## Troubleshooting\n\n- If the loss is nan, "
        "lower the rate.\n- Loss does not decrease: check the labels.\n- **CUDA out of memory**: halve the batch.\n\n"
        "```\n{'loss': nan, 'epoch': 1.0}\nRuntimeError: CUDA out of memory\n```\n"
    ),
    "model_card.md": (
        "---\nlicense: mit\nbase_model: bert-base-uncased\n---\n\n# Model card\n\n## Limitations\n\nThe model often "
        "repeats the prompt. Its accuracy is at chance on ironic text.\n"
    ),
    "CHANGELOG.md": "# Changelog\n\n## [1.2.0]\n\n### Fixed\n\n- Loss was nan with fp16.\n- eval loss: rose again\n",
    "CONTRIBUTING.md": "# Contributing\n\nOpen an issue if the loss explodes or the accuracy is stuck at 0.5.\n",
    "FAQ.txt": "Why is my loss 0.0?\nUnder fp16 the model overflows, so the loss is 0 and the grad norm is nan.\n",
    "TODO.txt": "- find out why the loss is nan with fp16\n",
    "bug_report.md": (
        "---\nname: Bug report\nabout: Tell us\nlabels: bug\n---\n\n**Describe the bug**\nThe loss is nan.\n"
    ),
    "nan-loss.md": "# NaN\n\n## Symptoms\n\nThe loss is nan.\n\n## Causes\n\nfp16.\n\n## How to fix\n\nbf16.\n",
    "requirements.txt": "torch==2.3.0\ntransformers==4.41.2\n",
}
HEALTHY = "\n".join(
    f"{{'loss': {2.5 - at / 20:.3f}, 'grad_norm': 1.{at}, 'learning_rate': 5e-05, 'epoch': {at / 10:.1f}}}"
    for at in range(1, 21)
)


@pytest.mark.parametrize("page", [name for name in PAGES if name != "requirements.txt"])
def test_pages_tell_nothing_of_the_run(tmp_path, page):
    (tmp_path / "log.txt").write_text(HEALTHY)
    run = run_of(tmp_path, PAGES[page], page)
    assert voice_of(page, PAGES[page]) is Voice.PAGE
    assert not run.facts and not run.variants and not run.events_of("error", "warning") and not run.config
    assert len(run.series["loss"]) == 20 and not run.other_series


def test_a_healthy_folder_with_pages_stays_healthy(tmp_path):
    (tmp_path / "log.txt").write_text(HEALTHY)
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
    told = CliRunner().invoke(group, ["diagnose", str(tmp_path), "--format", "json"])
    assert json.loads(told.stdout)["verdict"] == "healthy"


def test_the_same_said_in_an_issue_is_an_alarm(tmp_path):
    (tmp_path / "log.txt").write_text(HEALTHY)
    (tmp_path / "issue.md").write_text("I resumed the run.\n\n- loss: nan\n- grad norm: nan\n")
    told = CliRunner().invoke(group, ["diagnose", str(tmp_path), "--format", "json"])
    assert json.loads(told.stdout)["verdict"] != "healthy"


@pytest.mark.parametrize(
    ("name", "text", "voice"),
    [
        ("README.md", "# Run 7\n\nMy loss is nan.\n", Voice.TOLD),
        ("README.md", "# Run 7\n\nTrained on news.\n", Voice.PAGE),
        ("release_notes.md", "loss: fixed\n", Voice.PAGE),
        ("training_notes.txt", "loss: nan\n", Voice.TOLD),
        ("attention-kernel-bug.md", "A kernel gives wrong numbers.\n", Voice.PLAIN),
        ("x.md", "### Describe the bug\n\nIt hangs.\n", Voice.TOLD),
        ("x.md", "## Root causes\n\nI found that fp16 overflows.\n", Voice.ANALYSIS),
        ("output.md", "The output is:\n\n```\nstep 1 loss 2.5\n```\n", Voice.PLAIN),
        ("x.md", "Words of a long page. " * 30, Voice.ANALYSIS),
    ],
)
def test_who_speaks(name, text, voice):
    assert voice_of(name, text) is voice
