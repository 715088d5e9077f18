"""Runs that somebody compares in a CSV file, a Markdown table or a list of lines."""

from __future__ import annotations

import pytest

from holter.readers import read


def rows_of(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return [{key: cell.value for key, cell in row.items()} for row in read([tmp_path]).variants]


def test_a_sweep_is_rows_of_runs(tmp_path):
    rows = rows_of(tmp_path, "sweep.csv", "learning_rate,batch_size,final_loss\n1e-4,32,1.9\n1e-3,32,nan\n")
    assert [row["learning_rate"] for row in rows] == [1e-4, 1e-3]
    assert [row["per_device_train_batch_size"] for row in rows] == [32, 32]


@pytest.mark.parametrize(
    "text",
    [
        "step,loss,learning_rate\n10,2.1,1e-4\n20,1.9,9e-5\n",
        "epoch,train_loss,val_loss\n1,2.1,2.2\n2,1.9,2.0\n",
        "loss,learning_rate\n2.1,1e-4\n1.9,9e-5\n",
        "text,label,score\ngood,1,0.9\nbad,0,0.1\n",
    ],
)
def test_a_log_or_data_is_no_sweep(tmp_path, text):
    (tmp_path / "log.txt").write_text("{'loss': 2.0, 'epoch': 1.0}\n")
    assert rows_of(tmp_path, "a.csv", text) == []


def test_a_table_of_one_setting_is_no_table_of_settings(tmp_path):
    text = "| bnb_4bit_compute_dtype | train loss |\n|---|---|\n| float16 | nan |\n| bfloat16 | 1.2 |\n"
    rows = rows_of(tmp_path, "README.md", text)
    assert [row["bnb_4bit_compute_dtype"] for row in rows] == ["float16", "bfloat16"]


def test_lines_that_say_what_was_set_and_what_came(tmp_path):
    text = "Same command:\n\nseed 42 -> mcc 0.61\nseed 43 -> mcc 0.0\n"
    assert rows_of(tmp_path, "issue.md", text) == [
        {"run": "seed 42", "result": "mcc 0.61"},
        {"run": "seed 43", "result": "mcc 0.0"},
    ]


@pytest.mark.parametrize(
    "text",
    [
        "- lr: 1e-5\n- batch: 16\n- seed: 42\n",
        "- lr 1e-5: val acc 0.89\n",
        "## Fix\n\n- lr 1e-5: loss falls to 1.2\n- lr 1e-4: loss is nan\n",
    ],
)
def test_settings_single_lines_and_proposals_are_no_runs(tmp_path, text):
    (tmp_path / "log.txt").write_text("{'loss': 2.0, 'epoch': 1.0}\n")
    assert rows_of(tmp_path, "issue.md", text) == []


@pytest.mark.parametrize(
    "text",
    [
        "- lr: 1e-5, fp16: true, loss: nan\n- lr: 1e-6, fp16: true, loss: 1.2\n",
        "1. lr=1e-5; fp16=true; loss=nan\n2. lr=1e-6; fp16=true; loss=1.2\n",
        "* **A**: lr=1e-5, fp16=true, loss=nan\n* **B**: lr=1e-6, fp16=true, loss=1.2\n",
    ],
)
def test_items_of_pairs_are_runs(tmp_path, text):
    rows = rows_of(tmp_path, "issue.md", f"Both runs use the same data:\n\n{text}\nAny idea?\n")
    assert [(row["learning_rate"], row["fp16"], str(row["loss"])) for row in rows] == [
        (1e-5, True, "nan"),
        (1e-6, True, "1.2"),
    ]
    assert [row.get("run", "A") for row in rows] in (["A", "A"], ["A", "B"])


def test_what_comes_behind_an_arrow_is_the_result(tmp_path):
    text = "What I tried:\n\n- lr=1e-5, warmup=100 -> nan, at once\n- lr=1e-6, warmup=100 -> trains\n"
    assert [row["result"] for row in rows_of(tmp_path, "issue.md", text)] == ["nan, at once", "trains"]


@pytest.mark.parametrize(
    "text",
    [
        "What I ran:\n\n- lr: 1e-5, decay: 0.1\n- epochs: 3, batch: 8\n",
        "- epoch: 1, loss: 2.1, lr: 1e-4\n- epoch: 2, loss: 1.9, lr: 1e-4\n",
        "- GPU: A100, 80 GB\n- OS: Ubuntu, 22.04\n",
        "- lr: 1e-5, fp16: true, loss: nan\n",
    ],
)
def test_other_items_are_no_runs(tmp_path, text):
    (tmp_path / "log.txt").write_text("{'loss': 2.0, 'epoch': 1.0}\n")
    assert rows_of(tmp_path, "issue.md", text) == []


def test_a_list_longer_than_people_write_is_no_table_and_neither_is_its_end(tmp_path):
    (tmp_path / "log.txt").write_text("{'loss': 2.0, 'epoch': 1.0}\n")
    items = "".join(f"- fp16: true, warmup: {at % 7}, score: {at}\n" for at in range(400))
    assert all("warmup_steps" not in row for row in rows_of(tmp_path, "issue.md", f"Here:\n\n{items}"))


@pytest.mark.parametrize(
    "text", ["<table>\n" * 30, "<table><tr><td><![foo[ x</td></table>\n", "<table>\n<tr><td>a</table>\n"]
)
def test_broken_tables_of_html_are_text(tmp_path, text):
    (tmp_path / "log.txt").write_text("{'loss': 2.0, 'epoch': 1.0}\n")
    assert rows_of(tmp_path, "issue.md", text) == []
