"""Every check fires on its bad cases, stays quiet on its good ones and says so where there is not enough."""

import re

import pytest

from holter.checks.registry import CHECKS, load
from holter.finding import Outcome
from holter.testing import outcome_of

HEADINGS = ("What it looks for", "Why it hurts", "How to fix it", "When to ignore it", "Threshold", "Sources")


def cases(kind):
    for code in sorted(CHECKS):
        check = load(code)
        for example in getattr(check, kind):
            yield pytest.param(check, example, id=f"{code}-{example.label}")


@pytest.mark.parametrize(("check", "example"), list(cases("bad")))
def test_bad_case_is_found(check, example):
    assert outcome_of(check, example) is Outcome.FOUND


@pytest.mark.parametrize(("check", "example"), list(cases("good")))
def test_good_case_passes(check, example):
    assert outcome_of(check, example) is Outcome.PASSED


@pytest.mark.parametrize(("check", "example"), list(cases("not_enough")))
def test_not_enough_is_skipped(check, example):
    assert outcome_of(check, example) is Outcome.SKIPPED


@pytest.mark.parametrize("code", sorted(CHECKS))
def test_check_is_complete(code):
    check = load(code)
    assert check.code == code
    assert re.fullmatch(r"[A-Z]{3}\d{3}", code)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", check.name)
    assert len(check.bad) >= 1 and len(check.good) >= 2 and len(check.not_enough) >= 1
    for heading in HEADINGS:
        assert heading in (check.__doc__ or ""), f"{code} has no '{heading}' in its docstring"


def test_names_are_unique():
    names = [load(code).name for code in CHECKS]
    assert sorted(set(names)) == sorted(names)
