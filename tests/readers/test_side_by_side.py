"""The same runs side by side mean the same in every form; logs, data and search spaces are no runs."""

from __future__ import annotations

import json

import pytest

from holter.readers import read
from holter.readers.side_by_side import is_of_runs

RUNS = [
    {"lr": 1e-5, "fp16": True, "eval_loss": 1.2, "result": "fine"},
    {"lr": 1e-3, "fp16": True, "eval_loss": "nan", "result": "diverges"},
    {"lr": 1e-3, "fp16": False, "eval_loss": 1.4},
]
KEYS = ["lr", "fp16", "eval_loss", "result"]
TEXTS = [KEYS, *([str(run.get(key, "")) for key in KEYS] for run in RUNS)]


def piped(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def html(rows):
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return "<table>\n" + "\n".join(f"<tr>{row}</tr>" for row in cells) + "\n</table>\n"


def frame(rows):
    numbered = [["", *rows[0]], *([str(at), *row] for at, row in enumerate(rows[1:]))]
    return "<html><body>" + html(numbered) + "</body></html>"


def turned(corner):
    return [
        [corner, "run 1", "run 2", "run 3"],
        *([key, *(row[at] for row in TEXTS[1:])] for at, key in enumerate(KEYS)),
    ]


def nested(run):
    return {"config": {key: run[key] for key in ("lr", "fp16")}, "results": {k: run[k] for k in KEYS[2:] if k in run}}


FORMS = {
    "a list": ("runs.yaml", json.dumps(RUNS)),
    "named runs": ("runs.yaml", json.dumps({f"run {at}": run for at, run in enumerate(RUNS, 1)})),
    "below a heading": ("runs.yaml", json.dumps({"experiments": RUNS})),
    "below two headings": ("runs.yaml", json.dumps({"sweep": {"runs": RUNS}})),
    "named, below a heading": (
        "runs.yaml",
        json.dumps({"results": {f"run {at}": run for at, run in enumerate(RUNS, 1)}}),
    ),
    "settings and results apart": ("runs.yaml", json.dumps([nested(run) for run in RUNS])),
    "a list a column": ("runs.yaml", json.dumps({key: [run.get(key) for run in RUNS] for key in KEYS})),
    "JSON": ("runs.json", json.dumps(RUNS)),
    "JSON of another name": ("table.json", json.dumps(RUNS)),
    "JSON lines": ("table.jsonl", "\n".join(map(json.dumps, RUNS))),
    "JSON below a heading": ("out.json", json.dumps({"runs": RUNS})),
    "YAML of another name": ("sweep.yaml", json.dumps(RUNS)),
    "YAML of another name, in lines": ("sweep.yaml", "".join(f"- {json.dumps(run)}\n" for run in RUNS)),
    "among what was observed": ("observed.yaml", json.dumps({"wall_clock": "2 h", "runs": RUNS})),
    "CSV": ("runs.csv", "\n".join(map(",".join, TEXTS))),
    "CSV of another name": ("results.csv", "\n".join(map(",".join, TEXTS))),
    "TSV": ("runs.tsv", "\n".join(map("\t".join, TEXTS))),
    "CSV, a column a run": ("runs.csv", "\n".join(map(",".join, turned("quantity")))),
    "Markdown": ("issue.md", "What I ran:\n\n" + piped(TEXTS)),
    "Markdown without a word": ("issue.md", piped(TEXTS)),
    "Markdown, a column a run": ("issue.md", piped(turned(""))),
    "HTML in Markdown": ("issue.md", "What I ran:\n\n" + html(TEXTS)),
    "a page": ("page.html", html(TEXTS)),
    "a data frame": ("page.html", frame(TEXTS)),
}


def rows_of(folder, name, text):
    (folder / name).write_text(text)
    (folder / "log.txt").write_text("{'loss': 2.0, 'epoch': 1.0}\n")
    return [{key: str(cell.value) for key, cell in row.items()} for row in read([folder]).variants]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_means_the_same(tmp_path, form):
    rows = rows_of(tmp_path, *FORMS[form])
    named = [row.pop("run", f"run {at}") for at, row in enumerate(rows, 1)]
    assert named == ["run 1", "run 2", "run 3"]
    assert rows == [
        {"learning_rate": "1e-05", "fp16": "True", "eval_loss": "1.2", "result": "fine"},
        {"learning_rate": "0.001", "fp16": "True", "eval_loss": "nan", "result": "diverges"},
        {"learning_rate": "0.001", "fp16": "False", "eval_loss": "1.4"},
    ]


def test_quantities_outside_and_runs_inside(tmp_path):
    text = "eval_loss: {sdpa: nan, eager: 1.3}\nfp16: {sdpa: true, eager: true}\n"
    assert rows_of(tmp_path, "runs.yaml", text) == [
        {"run": "sdpa", "eval_loss": "nan", "fp16": "True"},
        {"run": "eager", "eval_loss": "1.3", "fp16": "True"},
    ]


def test_single_values_beside_the_runs_belong_to_each(tmp_path):
    text = "model: t5-base\nruns:\n- {lr: 1e-4, loss: nan}\n- {lr: 1e-5, loss: 2.1}\n"
    assert {row["model_name_or_path"] for row in rows_of(tmp_path, "runs.yaml", text)} == {"t5-base"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "step,loss,learning_rate\n1,2.1,1e-4\n2,1.9,9e-5\n3,1.8,8e-5\n"),
        ("a.csv", "loss,learning_rate\n2.1,1e-4\n1.9,9e-5\n"),
        ("a.csv", "text,label,score\ngood,1,0.9\nbad,0,0.1\n"),
        ("a.csv", "layer,grad_norm\nq_proj,0.0\nk_proj,1.2\n"),
        (
            "a.json",
            '[{"step": 1, "loss": 2.1, "learning_rate": 1e-4}, {"step": 2, "loss": 1.9, "learning_rate": 9e-5}]',
        ),
        ("a.jsonl", '{"epoch": 1, "loss": 2.1, "lr": 1e-4}\n{"epoch": 2, "loss": 1.9, "lr": 1e-4}\n'),
        ("observed.yaml", "history:\n- {epoch: 1, loss: 2.1}\n- {epoch: 2, loss: 1.9}\n- {epoch: 3, loss: 1.8}\n"),
        ("observed.yaml", "gradients:\n- {name: lora_A, grad_norm: 0.0}\n- {name: head, grad_norm: 1.2}\n"),
        ("config.yaml", "datasets:\n- {path: a.json, type: alpaca}\n- {path: b.json, type: sharegpt}\n"),
        ("sweep.yaml", "parameters:\n  lr: {values: [1e-5, 1e-4]}\n  loss: {values: [ce, focal]}\n"),
        ("config.yaml", "param_groups:\n- {params: head, lr: 1e-3}\n- {params: body, lr: 1e-5}\n"),
        ("a.md", "| step | loss |\n|---|---|\n| 10 | 2.1 |\n| 20 | 1.8 |\n"),
        ("a.md", "| setting | value |\n|---|---|\n| learning_rate | 1e-5 |\n| warmup_steps | 50 |\n"),
        ("a.md", "| metric | before | after |\n|---|---|---|\n| loss | 3.1 | 1.2 |\n| accuracy | 0.3 | 0.8 |\n"),
        ("a.html", "<p>no table</p>"),
    ],
)
def test_logs_data_and_choices_are_no_runs(tmp_path, name, text):
    assert rows_of(tmp_path, name, text) == []


def test_a_course_that_is_called_runs_is_a_series_too(tmp_path):
    (tmp_path / "runs.yaml").write_text("- {step: 1, loss: 2.1}\n- {step: 2, loss: 1.9}\n- {step: 3, loss: 1.8}\n")
    run = read([tmp_path])
    assert list(run.series["loss"].steps) == [1, 2, 3] and len(run.variants) == 3


def test_ticks_and_empty_cells(tmp_path):
    text = "| fp16 | warmup | loss |\n|---|---|---|\n| \u2705 | - | nan |\n| \u274c | 100 steps | 1.2 |\n"
    assert rows_of(tmp_path, "a.md", text) == [
        {"fp16": "True", "loss": "nan"},
        {"fp16": "False", "warmup_steps": "100", "loss": "1.2"},
    ]


def test_names_that_only_number_the_rows_say_no_more_than_a_list(tmp_path):
    numbered = rows_of(tmp_path, "runs.yaml", "exp1: {lr: 1e-5, f1: 0.8}\nexp2: {lr: 1e-3, f1: 0.1}\n")
    assert numbered == [{"learning_rate": "1e-05", "eval_f1": "0.8"}, {"learning_rate": "0.001", "eval_f1": "0.1"}]


@pytest.mark.parametrize("names", [("run 1", "run 2"), ("fp16", "bf16"), ("10", "20")])
def test_other_names_and_those_of_repeated_runs_stay(tmp_path, names):
    rows = rows_of(tmp_path, "runs.yaml", "".join(f"{name}: {{f1: 0.8}}\n" for name in names))
    assert tuple(row["run"] for row in rows) == names


def test_rows_of_one_run_are_in_order_of_time(tmp_path):
    (tmp_path / "runs.yaml").write_text("- {step: 9, loss: 1.8}\n- {step: 2, loss: 1.9}\n- {step: 1, loss: 2.1}\n")
    run = read([tmp_path])
    assert list(run.series["loss"]) == [2.1, 1.9, 1.8] and run.variants[0]["step"].value == 1


def test_tokens_in_cells_are_no_markup(tmp_path):
    text = "| lr | output | loss |\n|---|---|---|\n| 1e-5 | `<unk>` | nan |\n| 1e-6 | <b>fine</b> | 1.2 |\n"
    assert [row["output"] for row in rows_of(tmp_path, "a.md", text)] == ["<unk>", "fine"]


def test_the_line_of_a_cell_is_kept(tmp_path):
    (tmp_path / "a.md").write_text("What I ran:\n\n" + html(TEXTS))
    assert [row["fp16"].source.line for row in read([tmp_path]).variants] == [5, 6, 7]


def test_names_of_tables_of_runs():
    assert all(map(is_of_runs, ("runs.csv", "lr_sweep.yaml", "what I tried", "ablations")))
    assert not any(map(is_of_runs, ("run.csv", "results.csv", "training_log.csv", "trunks")))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sweep.yaml", "datasets:\n- {path: a.json, type: alpaca}\n- {path: b.json, type: sharegpt}\n"),
        ("experiments.yaml", "a: {datasets: [{path: a.json, type: x}, {path: b.json, type: y}]}\nb: {lr: 1}\n"),
        ("a.csv", "name,age,score\nAnn,12,0.4\nBob,13,0.6\n"),
        ("a.csv", "id,question,answer,score\n1,what,cat,0.9\n2,who,dog,0.1\n"),
        ("a.csv", "class,precision,recall,f1\ncat,0.91,0.88,0.89\ndog,0.87,0.92,0.9\n"),
        ("a.csv", "class,f1,eval_rows,train_samples\ncat,0.0,4,140\ndog,0.9,1,22\n"),
        ("results.json", '{"classes": [{"class": "cat", "f1": 0.0, "train_samples": 22}, {"class": "b", "f1": 1.0}]}'),
        ("a.md", "| class | train_samples | f1 |\n|---|---|---|\n| cat | 22 | 0.0 |\n| dog | 140 | 0.9 |\n"),
        ("a.json", '[{"prompt": "hi", "model": "a", "score": 0.3}, {"prompt": "ho", "model": "b", "score": 0.7}]'),
        ("a.jsonl", '{"loss": 2.3, "lr": 1e-4, "tokens": 40}\n{"loss": 2.2, "lr": 9e-5, "tokens": 80}\n'),
        ("merge.yaml", "models:\n- {model: a/b, weight: 0.5}\n- {model: c/d, weight: 0.3}\n"),
    ],
)
def test_lists_of_other_things_are_no_runs(tmp_path, name, text):
    assert rows_of(tmp_path, name, text) == []


def test_counted_runs_need_no_word_of_their_end_in_a_file_of_runs(tmp_path):
    text = "exp0: {gpus: 1, updates_per_step: 1}\nexp1: {gpus: 2, updates_per_step: 2}\n"
    assert [row["world_size"] for row in rows_of(tmp_path, "experiments.yaml", text)] == ["1", "2"]
