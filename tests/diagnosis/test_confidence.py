"""Confidences behave like probabilities."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from stub_findings import finding

from holter.diagnosis.causes import CAUSES
from holter.diagnosis.confidence import MOST, confidences
from holter.diagnosis.weigh import weigh
from holter.finding import Clue, Severity

BITS = st.dictionaries(st.sampled_from(sorted(CAUSES)), st.floats(-8, 8).filter(lambda b: abs(b) > 0.01), min_size=1)


@given(BITS)
def test_rivals_share_at_most_one(bits: dict[str, float]) -> None:
    scores = weigh([finding(*(Clue(cause=label, bits=b) for label, b in bits.items()))])
    sure = confidences(scores, scores)
    assert all(0 < p <= MOST for p in sure.values())
    assert sum(sure.values()) < 1
    assert set(sure) == {label for label, b in bits.items() if b > 0}


@given(BITS, st.floats(0.1, 5))
def test_more_evidence_never_lowers_it(bits: dict[str, float], more: float) -> None:
    label = sorted(bits)[0]
    bits[label] = abs(bits[label])
    weak = weigh([finding(*(Clue(cause=name, bits=b) for name, b in bits.items()))])
    bits[label] += more
    strong = weigh([finding(*(Clue(cause=name, bits=b) for name, b in bits.items()))])
    assert confidences(strong, strong)[label] >= confidences(weak, weak)[label]


def test_excluded_causes_leave_their_share_to_the_others() -> None:
    scores = weigh([finding(Clue(cause="lr-too-high", bits=4), Clue(cause="fp16-overflow", bits=4))])
    assert confidences(scores, ["fp16-overflow"])["fp16-overflow"] > confidences(scores, scores)["fp16-overflow"]


def test_causes_of_other_findings_are_no_rivals() -> None:
    first = finding(Clue(cause="label-out-of-range", bits=6), line=1)
    second = finding(Clue(cause="eval-leak", bits=6), line=2)
    alone, both = weigh([first]), weigh([first, second])
    assert confidences(both, both)["label-out-of-range"] == confidences(alone, alone)["label-out-of-range"]


def test_a_note_alone_competes_with_every_symptom() -> None:
    symptom = finding(Clue(cause="label-out-of-range", bits=6), line=1)
    note = finding(Clue(cause="pad-equals-eos", bits=4), line=2, severity=Severity.NOTE)
    warning = finding(Clue(cause="pad-equals-eos", bits=4), line=2, severity=Severity.WARNING)
    with_note, with_warning = weigh([symptom, note]), weigh([symptom, warning])
    assert confidences(with_note, with_note)["pad-equals-eos"] < 0.3
    assert confidences(with_warning, with_warning)["pad-equals-eos"] > 0.5
