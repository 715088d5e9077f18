"""Clues add up once an observation, not once a finding."""

from __future__ import annotations

import pytest
from stub_findings import finding

from holter.diagnosis.causes import CAUSES
from holter.diagnosis.weigh import DAMPING, weigh
from holter.finding import Clue

PRIOR = CAUSES["label-out-of-range"].prior


def clue(bits: float, why: str = "") -> Clue:
    return Clue(cause="label-out-of-range", bits=bits, why=why)


def bits(*findings: object) -> float:
    return weigh(findings)["label-out-of-range"].bits - PRIOR  # type: ignore[arg-type]


def test_separate_observations_add_up() -> None:
    assert bits(finding(clue(2), line=1), finding(clue(3), line=2)) == pytest.approx(5)


def test_one_observation_seen_twice_is_damped() -> None:
    assert bits(finding(clue(2), line=1), finding(clue(3), line=1)) == pytest.approx(3 + 2 * DAMPING)


def test_same_reason_is_one_bundle() -> None:
    twice = bits(finding(clue(2, "the id is 7"), line=1), finding(clue(3, "the id is 7"), line=2))
    assert twice == pytest.approx(3 + 2 * DAMPING)


def test_a_finding_that_shares_with_both_joins_them() -> None:
    first, second = finding(clue(4), line=1), finding(clue(2), line=2)
    joining = finding(clue(1, "x"), line=1), finding(clue(1, "x"), line=2)
    assert bits(first, second) == pytest.approx(6)
    assert bits(first, second, *joining) == pytest.approx(4 + 2 * DAMPING + DAMPING**2 + DAMPING**3)


def test_for_and_against_do_not_damp_each_other() -> None:
    assert bits(finding(clue(4), line=1), finding(clue(-3), line=1)) == pytest.approx(1)


def test_order_of_findings_does_not_matter() -> None:
    several = [finding(clue(b, w), line=n) for b, w, n in ((1, "a", 1), (2, "", 2), (3, "a", 2), (-1, "", 9))]
    assert bits(*several) == pytest.approx(bits(*reversed(several)))


def test_unknown_labels_and_empty_clues_are_left_out() -> None:
    assert weigh([finding(Clue(cause="no-such-cause", bits=9), clue(0))]) == {}


def test_supporting_and_opposing_are_strongest_first() -> None:
    score = weigh([finding(clue(1), clue(-2), clue(4))])["label-out-of-range"]
    assert [w.clue.bits for w in score.supporting] == [4, 1]
    assert [w.clue.bits for w in score.opposing] == [-2]
