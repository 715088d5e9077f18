"""From check results to an answer."""

from __future__ import annotations

from stub_findings import finding, results

from holter.diagnosis import STANDS, judge
from holter.diagnosis.result import Verdict
from holter.finding import Basis, Change, Clue, Fix, Severity
from holter.run import Authority, Run, Source, Value
from holter.stages import Stage
from holter.testing import make_run

NAN = float("nan")


def test_no_finding_is_healthy() -> None:
    answer = judge(Run(), results(skipped=["needs 3 logged loss values, 0 found"]))
    assert answer.verdict is Verdict.HEALTHY
    assert not answer.causes and not answer.excluded and not answer.next
    assert answer.skipped[0].reason == "needs 3 logged loss values, 0 found"


def test_notes_are_healthy_even_with_clues() -> None:
    note = finding(Clue(cause="grad-clip-too-strict", bits=9), severity=Severity.NOTE)
    answer = judge(Run(), results(note))
    assert answer.verdict is Verdict.HEALTHY and not answer.causes and answer.findings == (note,)


def test_strong_evidence_is_a_fault() -> None:
    answer = judge(Run(), results(finding(Clue(cause="label-out-of-range", bits=7, why="label 23 of 23 classes"))))
    assert answer.verdict is Verdict.FAULT
    first = answer.causes[0]
    assert first.cause == "label-out-of-range" and first.confidence > 0.8
    assert first.codes == ("STB001",) and first.evidence[0].text == "observation 1"
    assert first.explanation.startswith("Label 23 of 23 classes.")


def test_weak_or_even_evidence_is_undetermined_with_a_measurement() -> None:
    even = finding(Clue(cause="label-out-of-range", bits=4), Clue(cause="embeddings-not-resized", bits=4))
    answer = judge(Run(), results(even))
    assert answer.verdict is Verdict.UNDETERMINED
    assert {c.cause for c in answer.causes} == {"label-out-of-range", "embeddings-not-resized"}
    assert all(c.confidence < STANDS for c in answer.causes)
    assert set(answer.next[0].separates) == {"label-out-of-range", "embeddings-not-resized"}


def test_a_warning_without_clues_is_undetermined_and_says_what_to_do() -> None:
    answer = judge(Run(), results(finding(severity=Severity.WARNING)))
    assert answer.verdict is Verdict.UNDETERMINED and not answer.causes and answer.next


def test_overlapping_labels_stand_together() -> None:
    both = finding(Clue(cause="fp16-overflow", bits=5), Clue(cause="loss-scale-exhausted", bits=6))
    assert judge(Run(), results(both)).verdict is Verdict.FAULT


def test_two_faults_of_different_findings_do_not_compete() -> None:
    first = finding(Clue(cause="label-out-of-range", bits=8), line=1)
    second = finding(Clue(cause="eval-leak", bits=8), line=2, stage=Stage.DATA)
    answer = judge(Run(), results(first, second))
    assert [c.confidence > 0.8 for c in answer.causes] == [True, True]


def test_excluded_cause_is_not_ranked() -> None:
    symptom = finding(Clue(cause="lr-too-high", bits=6), Clue(cause="grad-accum-loss-scale", bits=4), step=0, at=1)
    answer = judge(make_run(config={"warmup_ratio": 0.1}), results(symptom))
    assert [c.cause for c in answer.causes] == ["grad-accum-loss-scale"]
    excluded = {e.cause: e.reason for e in answer.excluded}
    assert "learning rate acts only through weight updates" in excluded["lr-too-high"]
    assert "warmup-missing" in excluded


def test_bf16_rules_fp16_out() -> None:
    symptom = finding(Clue(cause="fp16-overflow", bits=6), Clue(cause="labels-all-masked", bits=2))
    answer = judge(make_run(config={"bf16": True}), results(symptom))
    assert "fp16-overflow" not in [c.cause for c in answer.causes]
    assert any(e.cause == "fp16-overflow" and "bf16" in e.reason for e in answer.excluded)


def test_a_spelling_that_says_fp16_keeps_it() -> None:
    run = make_run(config={"fp16": False})
    run.add_setting("fp16", Value(value=True, source=Source(file="train.ipynb", cell=3), authority=Authority.NOTEBOOK))
    answer = judge(run, results(finding(Clue(cause="fp16-overflow", bits=6))))
    assert answer.causes[0].cause == "fp16-overflow"
    fix = answer.causes[0].fix
    assert fix is not None
    assert fix.changes[0] == Change(key="fp16", old=True, new=False, file="train.ipynb")


def test_consequences_are_told() -> None:
    run = make_run(series={"loss": [0.0], "grad_norm": [NAN], "learning_rate": [0.0]}, config={"fp16": True})
    told = judge(run, results(finding(Clue(cause="fp16-overflow", bits=6)))).causes[0].explanation
    assert "loss of 0.0" in told and "learning rate of 0.0" in told and told.count("consequence") == 2


def test_measured_basis_and_the_fix_of_a_check_win() -> None:
    fix = Fix(summary="Set it.", changes=(Change(key="num_labels", new=23),))
    measured = finding(Clue(cause="label-out-of-range", bits=7), fix=fix, basis=Basis.MEASURED)
    first = judge(Run(), results(measured)).causes[0]
    assert first.basis is Basis.MEASURED and first.fix == fix


def test_same_input_same_answer() -> None:
    symptom = finding(Clue(cause="fp16-overflow", bits=3), Clue(cause="labels-all-masked", bits=3), step=0)
    run = make_run(config={"fp16": True, "learning_rate": 1e-4})
    assert judge(run, results(symptom)) == judge(run, results(symptom))
