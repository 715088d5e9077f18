"""Trials in processes of their own: same batches, same numbers, and every way to end."""

from pathlib import Path

import pytest

from holter.experiments.pool import LocalPool
from holter.experiments.trial import Trial, TrialCache, TrialOutcome, TrialResult

PATH = (str(Path(__file__).parent),)


def trial(steps=2, world_size=1, time_limit=120.0, function="build", **overrides):
    return Trial(
        target=f"small_target:{function}", overrides=overrides, steps=steps, world_size=world_size, path=PATH,
        time_limit=time_limit,
    )  # fmt: skip


@pytest.fixture(scope="module")
def results():
    asked = {
        "plain": trial(),
        "again": trial(),
        "head": trial(head_std=2.0),
        "accumulate": trial(per_device_train_batch_size=2, gradient_accumulation_steps=2),
        "other_rows": trial(seed=1),
        "crash": trial(crash=True),
        "die": trial(die=True),
        "hang": trial(sleep=60, time_limit=2.0),
        "none": trial(function="no_overrides"),
        "three": trial(function="not_a_trainer"),
        "missing": trial(function="nowhere"),
    }
    names = list(asked)
    return {names[i]: result for i, result in LocalPool(jobs=2).run(list(asked.values()))}


def test_a_replay_is_the_same_to_the_last_bit(results):
    assert results["plain"].outcome is TrialOutcome.FINISHED
    assert [s for s, _ in results["plain"].series["loss"]] == [1, 2]
    assert results["plain"].series["loss"] == results["again"].series["loss"]
    assert results["plain"].series["grad_norm"] == results["again"].series["grad_norm"]


def test_fingerprints_follow_the_samples_and_nothing_else(results):
    same = results["plain"].fingerprints
    assert len(same) == 2 and same[0] != same[1]
    assert results["head"].fingerprints == same
    assert results["accumulate"].fingerprints == same, "the same eight rows, in twice as many micro-batches"
    assert results["other_rows"].fingerprints != same


def test_the_fault_shows_in_the_replay(results):
    """BERT's head takes keyword arguments and drops them, so accumulation 2 doubles loss and gradient."""
    plain, doubled = results["plain"].series, results["accumulate"].series
    assert doubled["loss"][0][1] == pytest.approx(2 * plain["loss"][0][1], rel=2e-3)
    assert results["head"].series["loss"][0][1] > plain["loss"][0][1]


@pytest.mark.parametrize(
    ("name", "outcome", "error"),
    [
        ("crash", TrialOutcome.CRASHED, "planted crash"),
        ("die", TrialOutcome.CRASHED, "exit code 7"),
        ("hang", TrialOutcome.TIMED_OUT, "2 seconds"),
        ("none", TrialOutcome.CRASHED, "takes no overrides"),
        ("three", TrialOutcome.CRASHED, "did not return a Trainer"),
        ("missing", TrialOutcome.CRASHED, "could not find"),
    ],
)
def test_every_way_to_end_is_an_outcome(results, name, outcome, error):
    assert results[name].outcome is outcome
    assert error in results[name].error


def test_two_processes_see_the_samples_of_one():
    one = trial(per_device_train_batch_size=8)
    two = trial(world_size=2, per_device_train_batch_size=4, true_loss=True)
    found = dict(LocalPool(jobs=1).run([one, two]))
    assert found[1].outcome is TrialOutcome.FINISHED, found[1].error
    assert found[0].fingerprints == found[1].fingerprints
    assert found[1].series["loss"][0][1] == pytest.approx(found[0].series["loss"][0][1], rel=1e-3)


def test_cache_gives_back_what_was_stored(results, tmp_path):
    cache = TrialCache(tmp_path)
    assert cache.load(trial()) is None
    cache.store(trial(), results["plain"])
    assert cache.load(trial()) == results["plain"]
    assert cache.load(trial(time_limit=5.0)) == results["plain"], "a time limit does not change a result"
    assert cache.load(trial(steps=3)) is None
    (tmp_path / f"{trial().key}.json").write_text('{"cut')
    assert cache.load(trial()) is None


def test_a_trial_of_edited_code_is_another_trial(results, tmp_path):
    (tmp_path / "mine.py").write_text("def build(overrides): ...\n")
    asked = Trial(target="mine:build", path=(str(tmp_path),))
    cache = TrialCache(tmp_path / "kept")
    cache.store(asked, results["plain"])
    assert cache.load(asked) == results["plain"]
    (tmp_path / "helper.py").write_text("SIZE = 2\n")
    assert cache.load(asked) is None


def test_a_trial_that_failed_is_run_again(tmp_path):
    cache = TrialCache(tmp_path)
    for outcome in (TrialOutcome.CRASHED, TrialOutcome.TIMED_OUT):
        cache.store(trial(), TrialResult(outcome=outcome, error="boom"))
        assert cache.load(trial()) is None
