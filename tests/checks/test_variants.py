"""Tables of runs: which rows belong together, which runs failed, and which setting separates them."""

import math

import pytest

from holter.checks.configuration._outcomes import groups_of
from holter.checks.configuration.variants_separate import SettingSeparatesRuns
from holter.checks.engine import run_check
from holter.testing import make_run


def _groups(*rows):
    return groups_of(make_run(variants=list(rows)).variants)


def _bits(*rows, **contents):
    result = run_check(SettingSeparatesRuns, make_run(variants=list(rows), **contents))
    found = {}
    for finding in result.findings:
        for clue in finding.clues:
            found[clue.cause] = max(found.get(clue.cause, clue.bits), clue.bits)
    return found


def test_rows_that_differ_only_in_progress_are_one_run():
    groups = _groups(
        {"lr": 1, "step": 1, "loss": 3.0}, {"lr": 1, "step": 9, "loss": 2.0}, {"lr": 2, "step": 1, "loss": 3.0}
    )
    assert [len(group.rows) for group in groups] == [2, 1]


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ({"loss": math.nan}, {"loss": 1.0}),
        ({"loss": 0.0}, {"loss": 1.0}),
        ({"accuracy": 0.5}, {"accuracy": 0.9}),
        ({"f1": 12.0}, {"f1": 80.0}),
        ({"eval_loss": 3.1}, {"eval_loss": 1.9}),
        ({"result": "diverges"}, {"result": "learns"}),
    ],
)
def test_failed_runs_are_told_from_good_ones(bad, good):
    first, second = _groups({"seed": 1, **bad}, {"seed": 2, **good})
    assert first.failed
    assert not second.failed


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"accuracy": 0.88}, {"accuracy": 0.9}),
        ({"loss": 1.3}, {"loss": 1.0}),
        ({"grad_norm": 900.0}, {"grad_norm": 2.0}),
    ],
)
def test_small_differences_and_gradients_are_no_failure(one, two):
    assert not any(group.failed for group in _groups({"seed": 1, **one}, {"seed": 2, **two}))


@pytest.mark.parametrize(
    ("name", "bad", "good", "cause"),
    [
        ("attn_implementation", "sdpa", "eager", "attention-kernel-bug"),
        ("fp16", True, False, "fp16-overflow"),
        ("torch_dtype", "float16", "float32", "fp16-overflow"),
        ("learning_rate", 1e-3, 1e-5, "lr-too-high"),
        ("warmup_steps", 0, 500, "warmup-missing"),
        ("max_length", 64, 1024, "labels-all-masked"),
        ("versions.transformers", "4.45.0", "4.44.0", "framework-bug"),
        ("model", "x-large", "x-base", "lr-too-high"),
        ("load_in_8bit", True, False, "quantized-precision-mismatch"),
        ("seed", 3, 4, "seed-instability"),
    ],
)
def test_the_separating_setting_names_its_cause(name, bad, good, cause):
    bits = _bits({name: bad, "accuracy": 0.33}, {name: good, "accuracy": 0.9})
    assert max(bits, key=bits.get) == cause


def test_settings_that_changed_together_weigh_less():
    alone = _bits({"learning_rate": 1e-3, "accuracy": 0.3}, {"learning_rate": 1e-5, "accuracy": 0.9})
    rows = (
        {"learning_rate": 1e-3, "optim": "sgd", "accuracy": 0.3},
        {"learning_rate": 1e-5, "optim": "adamw", "accuracy": 0.9},
    )
    assert _bits(*rows)["lr-too-high"] == alone["lr-too-high"] - 1


def test_equal_settings_with_different_ends_point_to_the_seed():
    assert "seed-instability" in _bits({"model": "a", "accuracy": 0.9}, {"model": "a", "run": 2, "accuracy": 0.3})
