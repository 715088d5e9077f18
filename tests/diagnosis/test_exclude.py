"""The rule of stages: a symptom has its cause at its own stage or before it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from stub_findings import finding

from holter.diagnosis.cause import Cause
from holter.diagnosis.causes import CAUSES
from holter.diagnosis.exclude import LAST_IN_STEP, by_stage, first_symptom, moment, stage_reason
from holter.diagnosis.weigh import weigh
from holter.finding import Clue, Evidence, Finding, Severity
from holter.run import Run, Series, Source
from holter.stages import Stage
from holter.testing import make_run

WRONG_FIRST_LOSS = finding(step=0, stage=Stage.LOSS, at=1)


def why(cause: Cause, symptom: Finding) -> str | None:
    """The reason in a run of which nothing else is known."""
    return stage_reason(cause, symptom, moment(Run(), symptom))


def test_first_loss_excludes_what_acts_through_updates() -> None:
    for label in ("warmup-missing", "lr-too-high", "grad-clip-too-strict", "adapter-layers", "overfitting"):
        reason = why(CAUSES[label], WRONG_FIRST_LOSS)
        assert reason is not None and "before any update" in reason and "loss of step 1" in reason


def test_first_loss_leaves_what_acts_before_it() -> None:
    for label in ("grad-accum-loss-scale", "fp16-overflow", "pad-token-wrong", "eval-leak", "template-mismatch"):
        assert why(CAUSES[label], WRONG_FIRST_LOSS) is None


def test_later_step_leaves_what_acts_through_updates() -> None:
    later = finding(step=40, stage=Stage.LOSS)
    assert why(CAUSES["lr-too-high"], later) is None
    assert why(CAUSES["missing-zero-grad"], later) is None


def test_evaluation_never_feeds_back() -> None:
    reason = why(CAUSES["metric-decoding"], finding(step=40, stage=Stage.LOSS))
    assert reason is not None and "feed back" in reason


def test_unknown_step_excludes_nothing() -> None:
    assert all(why(entry, finding(step=None)) is None for entry in CAUSES.values())


def test_first_symptom_is_the_earliest_hard_one() -> None:
    note = finding(step=0, severity=Severity.NOTE)
    late, early = finding(step=9, stage=Stage.LOSS), finding(step=3, stage=Stage.BACKWARD)
    unplaced, curve = finding(step=None), finding(step=0, stage=Stage.EVAL)
    assert first_symptom([note, late, early, unplaced, curve]) is early
    assert first_symptom([note, unplaced]) is None


def test_weighed_and_suspected_causes_are_excluded_with_reason() -> None:
    symptom = finding(Clue(cause="lr-too-high", bits=3), Clue(cause="fp16-overflow", bits=3), step=0, at=1)
    excluded = by_stage(Run(), weigh([symptom]), symptom, {"warmup-missing"})
    assert set(excluded) == {"lr-too-high", "warmup-missing"}
    assert "warmup acts only through the learning rate of later steps" in excluded["warmup-missing"]


def test_a_second_fault_with_strong_evidence_of_its_own_stands() -> None:
    curve = finding(Clue(cause="overfitting", bits=6), step=400, stage=Stage.EVAL, line=2)
    assert "overfitting" not in by_stage(Run(), weigh([WRONG_FIRST_LOSS, curve]), WRONG_FIRST_LOSS, ())
    weak = finding(Clue(cause="overfitting", bits=2), step=400, stage=Stage.EVAL, line=2)
    assert "overfitting" in by_stage(Run(), weigh([WRONG_FIRST_LOSS, weak]), WRONG_FIRST_LOSS, ())


@given(st.sampled_from(sorted(CAUSES)), st.sampled_from([s for s in Stage if s <= LAST_IN_STEP]), st.integers(0, 50))
def test_what_explains_a_step_explains_every_later_step(label: str, stage: Stage, step: int) -> None:
    here, later = finding(step=step, stage=stage, at=step + 1), finding(step=step + 1, stage=stage, at=step + 2)
    if why(CAUSES[label], here) is None:
        assert why(CAUSES[label], later) is None


@given(st.sampled_from(sorted(CAUSES)), st.sampled_from([s for s in Stage if s <= LAST_IN_STEP]))
def test_no_cause_is_excluded_at_its_own_stage_unless_it_needs_an_update(label: str, stage: Stage) -> None:
    entry = CAUSES[label]
    if entry.stage <= stage and not entry.through_updates and label != "missing-zero-grad":
        assert why(entry, finding(step=0, stage=stage, at=1)) is None


def test_a_mean_over_the_first_steps_may_hold_an_update() -> None:
    first_logged = finding(step=0, at=10)
    assert moment(Run(), first_logged) is None
    assert moment(make_run(config={"logging_steps": 1}), finding(step=0)) is not None
    assert why(CAUSES["lr-too-high"], first_logged) is None
    assert why(CAUSES["metric-decoding"], first_logged) is not None


def test_a_rate_of_zero_moves_no_weight() -> None:
    started = make_run(series={"learning_rate": [0.0]}, steps=[10])
    words = moment(started, finding(step=0, at=10))
    assert words is not None and "learning rate was still 0.0" in words
    moving = make_run(series={"learning_rate": [1e-5]}, steps=[10])
    assert moment(moving, finding(step=0, at=10)) is None


def test_a_rate_of_zero_at_the_end_of_a_schedule_says_nothing_of_its_start() -> None:
    ended = make_run()
    rates = Series(name="learning_rate", source=Source(file="log.txt"))
    rates.append(0.0, epoch=3.0)
    ended.series["learning_rate"] = rates
    assert moment(ended, finding(step=0)) is None


def test_a_loss_that_only_falls_was_not_raised_by_updates() -> None:
    falling = make_run(series={"loss": [77.4, 75.8, 63.6]}, steps=[10, 50, 100])
    symptom = replace(finding(step=0, at=10), evidence=(Evidence(text="loss is 77.4", step=10, value=77.4),))
    words = moment(falling, symptom)
    assert words is not None and "only falls" in words
    rising = make_run(series={"loss": [77.4, 79.8, 63.6]}, steps=[10, 50, 100])
    assert moment(rising, symptom) is None
    assert moment(falling, finding(step=0, at=10)) is None
