"""Only an experiment confirms or refutes a cause; a verification compares with what was predicted."""

import pytest

from holter.diagnosis import diagnose
from holter.diagnosis.result import Diagnosis, RankedCause, Verdict
from holter.experiments.confirm import with_verdicts
from holter.experiments.ledger import Entry, Hypothesis, VerdictWord
from holter.experiments.ledger import Verdict as Decided
from holter.experiments.verify import verify
from holter.finding import Basis
from holter.testing import make_run

NAN = float("nan")


def cause(label, confidence):
    return RankedCause(
        cause=label, title=label, confidence=confidence, basis=Basis.INFERRED, explanation="e", evidence=()
    )


def entry(label, word):
    hypothesis = Hypothesis(target="t", change={"a": 1}, expect="loss@1 < 1", cause=label)
    return Entry(number=1, hypothesis=hypothesis, verdict=Decided(word=VerdictWord(word), reason="why"))


DIAGNOSIS = Diagnosis(verdict=Verdict.FAULT, causes=(cause("a", 0.6), cause("b", 0.3), cause("c", 0.1)))


def test_a_confirmed_cause_comes_first_and_the_others_share_the_rest():
    causes = with_verdicts(DIAGNOSIS, [entry("b", "confirmed")]).causes
    assert [(c.cause, c.basis) for c in causes] == [
        ("b", Basis.CONFIRMED),
        ("a", Basis.INFERRED),
        ("c", Basis.INFERRED),
    ]
    assert sum(c.confidence for c in causes) <= 1
    assert causes[0].evidence[0].text == "confirmed by an experiment: why"


def test_a_refuted_cause_is_ruled_out_with_the_reason():
    found = with_verdicts(DIAGNOSIS, [entry("a", "refuted")])
    assert [c.cause for c in found.causes] == ["b", "c"]
    assert found.excluded[-1].cause == "a" and "refuted it: why" in found.excluded[-1].reason


@pytest.mark.parametrize("word", ["inconclusive"])
def test_nothing_else_changes_anything(word):
    assert with_verdicts(DIAGNOSIS, [entry("a", word), entry("", "confirmed")]) == DIAGNOSIS


SETTINGS = {
    "architectures": "Qwen3ForSequenceClassification",
    "num_labels": 280,
    "gradient_accumulation_steps": 2,
    "world_size": 4,
    "versions.transformers": "4.57.1",
}
BEFORE = make_run(series={"loss": [69.5, 69.2, 69.0], "grad_norm": [196.0, 200.0, 190.0]}, config=SETTINGS)


def rows(found):
    return {row.quantity: row.word.value for row in found.rows}


def test_a_fix_that_did_what_it_predicted():
    assert diagnose(BEFORE).causes[0].cause == "grad-accum-loss-scale"
    after = make_run(
        series={"loss": [8.7, 8.5, 8.1], "grad_norm": [24.0, 24.0, 23.0]},
        config=SETTINGS,
        facts={"loss_factor": 1.0},
    )
    found = verify(BEFORE, after)
    assert rows(found)["first loss"] == rows(found)["first grad_norm"] == rows(found)["loss_factor"] == "confirmed"


def test_a_fix_that_changed_nothing_is_refuted():
    found = verify(BEFORE, BEFORE)
    assert found.word is VerdictWord.REFUTED
    assert rows(found)["first loss"] == "refuted"
    assert found.still_off


def test_numbers_that_are_still_not_finite_and_slower_runs_are_refuted():
    before = make_run(series={"loss": [0.0], "grad_norm": [NAN], "train_samples_per_second": [100.0]})
    after = make_run(series={"loss": [0.0], "grad_norm": [NAN], "train_samples_per_second": [50.0]})
    found = verify(before, after)
    assert rows(found)["grad_norm"] == "refuted" and rows(found)["train_samples_per_second"] == "refuted"


def test_a_run_without_numbers_settles_nothing():
    found = verify(make_run(series={"loss": [5.0, 4.0]}), make_run(config={"seed": 1}))
    assert found.word is VerdictWord.INCONCLUSIVE
    assert "does not hold the numbers" in found.sentence


def test_predictions_that_held_before_show_nothing():
    healthy = make_run(series={"loss": [5.0, 4.0], "grad_norm": [1.0, 0.9]}, facts={"loss_factor": 1.0})
    found = verify(healthy, healthy)
    assert set(rows(found).values()) == {"confirmed"}
    assert found.word is VerdictWord.INCONCLUSIVE
    assert "held before the fix too" in found.sentence
