"""The commands that compare, replay, test, fix and verify: exit codes, forms, and what they say of bad input."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from holter.cli import COMMANDS, group
from holter.errors import HolterError
from holter.experiments.trial import TrialOutcome
from tests.cli.scripted import Interrupted, Scripted

TARGET = "small_target:build"
FAULT = ["--set-bad", "fault=1"]
NOISE = ["--set-bad", "weight_decay=0.1", "--set-bad", "report_to=mlflow", "--set-bad", "adam_beta2=0.98"]


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def engine(monkeypatch):
    def use(made):
        for name in ("bisect", "try", "verify"):
            monkeypatch.setattr(f"holter.cli.{name}_command.make_engine", lambda *_: made)
        return made

    return use


def run(*words):
    result = CliRunner().invoke(group, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(*words):
    """What `holter` says where it exits with 2."""
    with pytest.raises(HolterError) as caught:
        run(*words)
    return str(caught.value)


def data_of(result):
    return json.loads(result.stdout, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_bisect_names_the_culprit_and_exits_1(engine):
    engine(Scripted())
    result = run("bisect", TARGET, TARGET, *FAULT, *NOISE, "--symptom", "loss@1 > 20", "--format", "json")
    found = data_of(result)
    assert result.exit_code == 1
    assert found["schema"] == "holter.bisection/1"
    assert list(found["culprits"]) == ["fault"]
    assert set(found["set_aside"]) == {"adam_beta2", "report_to", "weight_decay"}


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_bisect_as_a_page(engine, form, tmp_path):
    engine(Scripted())
    page = tmp_path / "page"
    run("bisect", TARGET, TARGET, *FAULT, "--format", form, "-o", str(page))
    text = page.read_text(encoding="utf-8")
    assert "fault" in text and "confirmed" in text and "Spread" in text


@pytest.mark.parametrize(
    ("carries", "symptom", "words"),
    [
        (lambda s: False, "loss@1 > 20", "does not come back on replay"),
        (lambda s: False, None, "shows no symptom"),
        (lambda s: True, "loss@1 > 20", "GOOD shows the symptom too"),
    ],
    ids=["symptom-stays-away", "bad-does-not-show-it", "good-shows-it"],
)
def test_bisect_without_a_verdict_says_why(engine, carries, symptom, words):
    engine(Scripted(carries))
    wanted = ["--symptom", symptom] if symptom else []
    assert words in refused("bisect", TARGET, TARGET, *FAULT, *wanted)


@pytest.mark.parametrize("ending", [TrialOutcome.CRASHED, TrialOutcome.TIMED_OUT])
def test_bisect_of_a_replay_that_ends_badly(engine, ending):
    engine(Scripted(ends=lambda settings: ending if settings.get("fault") else None))
    text = refused("bisect", TARGET, TARGET, *FAULT)
    assert "BAD" in text and ending.value in text and "boom" in text


def test_bisect_counts_a_crash_in_the_middle_as_its_own_outcome(engine):
    def ends(settings):
        return TrialOutcome.CRASHED if settings.get("left") == 1 and "right" not in settings else None

    engine(Scripted(lambda s: s.get("right") == 1, ends=ends))
    words = ["--set-bad", "left=1", "--set-bad", "right=1", "--symptom", "loss@1 > 20", "--format", "json"]
    found = data_of(run("bisect", TARGET, TARGET, *words))
    assert list(found["culprits"]) == ["right"]
    assert any(trial["note"].startswith("crashed") and trial["shows"] is None for trial in found["trials"])


def test_interrupted_search_keeps_its_trials_and_goes_on(engine):
    words = ["bisect", TARGET, TARGET, *FAULT, "--set-bad", "other=1", "--set-bad", "third=1"]
    engine(Interrupted(after=3))
    result = run(*words)
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr
    kept = len(list(Path("holter-trials").rglob("*.json")))
    assert kept == 3
    rest = engine(Scripted())
    assert run(*words).exit_code == 1
    assert len([p for p in Path("holter-trials").rglob("*.json") if p.name != "bisection.json"]) == kept + len(
        rest.trials
    )


def folders(tmp_path, good, bad):
    for name, text in (("good", good), ("bad", bad)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    return "good", "bad"


def test_differences_that_no_replay_can_have_are_reported(engine, tmp_path):
    engine(Scripted())
    good, bad = folders(
        tmp_path,
        "learning_rate: 0.1\nmodel_name_or_path: a/small\ntrain_file: one.csv\n",
        "learning_rate: 0.1\nmodel_name_or_path: a/large\ntrain_file: two.csv\n",
    )
    text = refused("bisect", good, bad, "--target", TARGET)
    assert "do not differ" in text
    assert "another model" in text and "other data" in text
    found = data_of(run("bisect", good, bad, "--target", TARGET, *FAULT, "--format", "json"))
    assert "another model" in found["set_aside"]["model_name_or_path"]
    assert "other data" in found["set_aside"]["train_file"]
    assert all("model_name_or_path" not in trial["settings"] for trial in found["trials"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bisect", "no-such-thing", TARGET], "no-such-thing"),
        (["bisect", TARGET, TARGET, *FAULT, "--symptom", "loss@1 >"], "could not understand the expression"),
        (["bisect", TARGET, TARGET, *FAULT, "--symptom", "loss@1"], "neither true nor false"),
        (["try", TARGET, "--set", "a=1", "--expect", "frobnicate(loss) > 1"], "no function 'frobnicate'"),
        (["try", TARGET, "--set", "learning_rate=*10", "--expect", "loss < 1"], "relative"),
        (["ledger", "no-such-thing"], "no-such-thing"),
        (["verify", "no-such-thing", "--after", TARGET], "no-such-thing"),
        (["compare", "no-such-thing", TARGET], "no-such-thing"),
    ],
)
def test_bad_arguments_are_answered_in_four_parts(engine, words, said):
    engine(Scripted())
    text = refused(*words)
    assert said in text
    assert "why:" in text or "do:" in text


def test_a_folder_that_names_no_builder_cannot_be_replayed(tmp_path):
    good, bad = folders(tmp_path, "learning_rate: 0.1\n", "learning_rate: 0.2\n")
    assert "--target" in refused("bisect", good, bad)


@pytest.mark.parametrize(
    ("expect", "code", "word"),
    [
        ("loss@1 < 0.5 * base.loss@1", 0, "confirmed"),
        ("loss@1 > base.loss@1", 1, "refuted"),
        ("eval_loss < 1", 1, "inconclusive"),
    ],
)
def test_try_writes_the_verdict_and_the_ledger_keeps_it(engine, expect, code, word):
    engine(Scripted())
    words = ["try", TARGET, "--base", "fault=1", "--set", "fault=0", "--expect", expect, "--why", "a guess"]
    result = run(*words, "--format", "json")
    assert result.exit_code == code
    assert data_of(result)["verdict"]["word"].endswith(word)
    shown = run("ledger", TARGET, "--format", "json")
    assert shown.exit_code == 0
    (entry,) = data_of(shown)["entries"]
    assert entry["hypothesis"]["expect"] == expect
    assert entry["verdict"]["word"].endswith(word)
    assert word in run("ledger", TARGET).stdout


def test_a_prediction_stands_before_its_trial(engine):
    engine(Interrupted(after=0))
    result = run("try", TARGET, "--set", "fault=1", "--expect", "loss@1 > 20")
    assert result.exit_code == 130
    (entry,) = data_of(run("ledger", TARGET, "--format", "json"))["entries"]
    assert entry["verdict"] is None
    assert "not finished" in run("ledger", TARGET).stdout


@pytest.mark.parametrize(("expect", "code"), [("crashed == 1", 0), ("crashed == 0", 1)])
def test_a_refusal_can_be_predicted(engine, expect, code):
    engine(Scripted(ends=lambda settings: TrialOutcome.CRASHED if settings.get("fault") else None))
    result = run("try", TARGET, "--set", "fault=1", "--expect", expect)
    assert result.exit_code == code
    assert "boom" in result.stdout


def test_a_crash_settles_nothing_else(engine):
    engine(Scripted(ends=lambda settings: TrialOutcome.CRASHED if settings.get("fault") else None))
    result = run("try", TARGET, "--set", "fault=1", "--expect", "loss@1 > 1")
    assert result.exit_code == 1
    assert "inconclusive" in result.stdout


RUN = "{'loss': %s, 'grad_norm': %s, 'learning_rate': 5e-05, 'epoch': 0.1}\n"


def write_run(folder, losses, norms, config):
    folder.mkdir()
    (folder / "log.txt").write_text("".join(RUN % row for row in zip(losses, norms, strict=True)))
    (folder / "config.yaml").write_text(config)
    return str(folder)


@pytest.fixture
def runs(tmp_path):
    config = "model_name_or_path: google/mt5-small\nlearning_rate: 5.0e-5\nfp16: {}\n"
    good = write_run(tmp_path / "good", (3.2, 3.0, 2.8), (1.1, 1.0, 0.9), config.format("false"))
    bad = write_run(tmp_path / "bad", (0.0, 0.0, 0.0), ("nan",) * 3, config.format("true"))
    return good, bad


def test_compare_exits_1_where_something_differs_and_0_where_nothing_does(runs):
    good, bad = runs
    result = run("compare", good, bad, "--format", "json")
    assert result.exit_code == 1
    assert {d["setting"] for d in data_of(result)["differences"]} >= {"fp16"}
    same = run("compare", good, good)
    assert same.exit_code == 0
    assert "No setting that could matter differs." in same.stdout


def test_verify_of_a_cured_run_and_of_one_that_is_not(runs):
    good, bad = runs
    cured = run("verify", bad, "--after", good, "--format", "json")
    assert cured.exit_code == 0
    assert data_of(cured)["cause"] == "fp16-overflow"
    assert run("verify", bad, "--after", bad).exit_code == 1


def test_verify_that_replays_for_itself(engine):
    engine(Scripted())
    result = run("verify", TARGET, "--set", "fault=0")
    assert result.exit_code in (0, 1)
    assert "loss" in result.stdout


def test_verify_takes_the_fix_from_the_diagnosis(engine, runs):
    made = engine(Scripted())
    _, bad = runs
    run("verify", bad, "--target", TARGET)
    assert [trial.overrides.get("fp16") for trial in made.trials] == [True, False]


def test_verify_without_a_fix_says_so(engine, runs):
    engine(Scripted())
    good, _ = runs
    assert "no fix to verify" in refused("verify", good, "--target", TARGET)


def test_fix_shows_then_writes_once(runs):
    _, bad = runs
    before = {p: p.read_bytes() for p in Path(bad).iterdir()}
    shown = run("fix", bad)
    assert shown.exit_code == 1
    assert "-fp16: true" in shown.stdout
    assert {p: p.read_bytes() for p in Path(bad).iterdir()} == before
    assert run("fix", bad, "--apply").exit_code == 1
    assert "fp16: true" not in (Path(bad) / "config.yaml").read_text()
    assert (Path(bad) / "config.yaml.before-holter").read_bytes() == before[Path(bad) / "config.yaml"]


def test_fix_of_a_healthy_run_has_nothing_to_do(runs):
    good, _ = runs
    result = run("fix", good)
    assert result.exit_code == 0
    assert "Nothing is wrong" in result.stdout


@pytest.mark.parametrize("form", ["html", "text", "markdown", "json", "sarif"])
def test_report_gathers_everything(runs, form, tmp_path):
    good, bad = runs
    page = tmp_path / "page"
    result = run("report", bad, "--good", good, "--after", good, "--format", form, "-o", str(page))
    assert result.exit_code == 1
    text = page.read_text(encoding="utf-8")
    assert "fp16-overflow" in text
    if form in ("json", "sarif"):
        json.loads(text)
    else:
        assert "Differences" in text and "The patch" in text and "Verification" in text


def test_nothing_is_written_beside_the_users_files(runs, tmp_path, engine):
    engine(Scripted())
    good, bad = runs
    for command in (["compare", good, bad], ["fix", bad], ["verify", bad, "--after", good], ["ledger", bad]):
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        run(*command)
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before, command


def test_experiments_write_only_into_a_folder_of_their_own(engine, tmp_path):
    engine(Scripted())
    good, bad = folders(tmp_path, "learning_rate: 0.1\n", "learning_rate: 0.1\nfault: 1\n")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    run("bisect", good, bad, "--target", TARGET, *FAULT)
    run("try", bad, "--target", TARGET, "--set", "fault=0", "--expect", "loss@1 < 20")
    new = {p for p in tmp_path.rglob("*") if p.is_file()} - set(before)
    assert new and all(p.is_relative_to(tmp_path / "bad" / "holter") for p in new)
    assert {p: p.read_bytes() for p in before} == before


def test_what_holter_wrote_is_no_evidence_about_the_run(engine, runs):
    engine(Scripted())
    _, bad = runs
    clean = run("diagnose", bad, "--format", "json").stdout
    run("try", bad, "--target", TARGET, "--set", "fault=1", "--expect", "loss@1 > 20")
    assert (Path(bad) / "holter" / "ledger.jsonl").is_file()
    after = json.loads(run("diagnose", bad, "--format", "json").stdout)
    assert after["causes"][0]["cause"] == json.loads(clean)["causes"][0]["cause"]
    assert after["verdict"] == json.loads(clean)["verdict"]
    shutil.rmtree(Path(bad) / "holter")


@pytest.mark.parametrize("name", ["compare", "bisect", "try", "ledger", "fix", "verify", "report", "demo"])
def test_help_says_what_it_does(name):
    assert name in COMMANDS
    text = run(name, "--help").stdout
    assert len(text.splitlines()) > 5


def test_report_shows_the_search_and_diagnose_does_not_read_it(engine, runs, tmp_path):
    engine(Scripted())
    good, bad = runs
    before = data_of(run("diagnose", bad, "--format", "json"))
    run("bisect", good, bad, "--target", TARGET, *FAULT, *NOISE, "--symptom", "loss@1 > 20")
    page = tmp_path / "page"
    run("report", bad, "--format", "markdown", "-o", str(page))
    text = page.read_text(encoding="utf-8")
    assert "What carries the symptom" in text and "| BAD again |" in text
    after = data_of(run("diagnose", bad, "--format", "json"))
    assert {**after, "inputs": None} == {**before, "inputs": None}
