"""Headings that are part of no name: what stands below them is read as if they were not there."""

from __future__ import annotations

import pytest

from holter.readers import read
from holter.readers.titles import is_title


def one(folder, name, text):
    (folder / name).write_text(text)
    return read([folder])


@pytest.mark.parametrize(
    "text",
    [
        "loss: nan\nsetup: one GPU\n",
        "results: {loss: nan, setup: one GPU}\n",
        "what_i_see: {results: {loss: nan, setup: one GPU}}\n",
        "- loss: nan\n- setup: one GPU\n",
        "training: {loss: nan, setup: one GPU}\n",
        "results: {loss: nan}\nsetup: one GPU\n",
    ],
)
def test_what_was_observed(tmp_path, text):
    run = one(tmp_path, "observed.yaml", text)
    assert [str(value) for value in run.series["loss"]] == ["nan"]
    assert [value.value for value in run.facts["setup"]] == ["one GPU"]


@pytest.mark.parametrize(
    "heading", ["train_args", "training_arguments", "TrainingArgs", "hyperparameters", "my_config"]
)
def test_settings(tmp_path, heading):
    run = one(tmp_path, "config.yaml", f"{heading}:\n  learning_rate: 1e-4\n  own_switch: 3\n")
    assert run.get("learning_rate") == 1e-4 and run.get("own_switch") == 3
    assert run.config["own_switch"][0].source.line == 3


@pytest.mark.parametrize("heading", ["teacher", "good_run", "baseline", "after_resume", "grad_norm", "critic"])
def test_headings_that_say_whose_or_when_stay(tmp_path, heading):
    run = one(tmp_path, "observed.yaml", f"{heading}: {{own_number: 3, other: 4}}\n")
    assert f"{heading}.own_number" in run.facts and "own_number" not in run.facts


def test_two_headings_with_the_same_key_lose_none(tmp_path):
    run = one(tmp_path, "observed.yaml", "results: {speed: 3}\nmetrics: {speed: 4}\n")
    assert sorted(value.value for values in run.facts.values() for value in values) == [3, 4]


def test_evaluation_is_no_training(tmp_path):
    assert set(one(tmp_path, "observed.yaml", "eval: {loss: 1.5}\n").series) == {"eval_loss"}


def test_training_beside_evaluation_stays(tmp_path):
    run = one(tmp_path, "observed.yaml", "training: {rows: 3}\nevaluation: {rows: 4}\n")
    assert "training.rows" in run.facts and "evaluation.rows" in run.facts


def test_a_word_alone_is_a_title_only_of_all_of_it():
    assert is_title("results", alone=False) and is_title("training", alone=True)
    assert not is_title("training", alone=False) and not is_title("fp16", alone=True)


def test_what_stands_below_a_heading_is_found_by_it(tmp_path):
    (tmp_path / "trainer.yaml").write_text("training:\n  args:\n    fp16: true\n")
    [fp16] = read([tmp_path]).config["fp16"]
    assert fp16.source.key == "training.args.fp16"
