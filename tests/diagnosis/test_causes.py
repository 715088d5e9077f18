"""The table of causes is complete and consistent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holter.checks.engine import run_check
from holter.checks.registry import all_checks
from holter.diagnosis.causes import CAUSES, FAMILIES, cause, same_cause
from holter.diagnosis.exclude import ACTS
from holter.diagnosis.remedy import EDITS
from holter.diagnosis.suspects import BY_SETTING, NOT_FINITE, WRONG_FIRST_LOSS
from holter.finding import Outcome
from holter.testing import make_run


def test_labels_are_unique_and_kebab() -> None:
    labels = [entry.label for family in FAMILIES.values() for entry in family]
    assert len(labels) == len(set(labels)) == len(CAUSES)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", label) for label in labels)


@pytest.mark.parametrize("label", sorted(CAUSES))
def test_entry_says_enough(label: str) -> None:
    entry = cause(label)
    assert entry.title and not entry.title.endswith(".")
    assert entry.definition.endswith(".") and len(entry.definition.split()) >= 8
    assert len(entry.explanation.split()) >= 25
    assert entry.fix.endswith(".") and entry.confirm.measure.endswith(".")
    assert entry.confirm.cost > 0
    assert not entry.confirm.command or entry.confirm.command.startswith("holter ")


def test_overlaps_go_both_ways() -> None:
    for entry in CAUSES.values():
        for other in entry.overlaps:
            assert entry.label in CAUSES[other].overlaps


def test_same_cause() -> None:
    assert same_cause("fp16-overflow", "loss-scale-exhausted")
    assert same_cause("lr-zero", "lr-zero")
    assert not same_cause("fp16-overflow", "lr-zero")


def test_symptoms_are_no_causes() -> None:
    assert not {"nan", "loss-zero", "nan-loss", "exploding-gradient", "healthy", "undetermined"} & set(CAUSES)


def test_tables_name_known_causes() -> None:
    named = {*ACTS, *EDITS, *BY_SETTING, *WRONG_FIRST_LOSS, *NOT_FINITE}
    assert named <= set(CAUSES)


def test_every_clue_of_every_check_names_a_known_cause() -> None:
    unknown = set()
    for check in all_checks():
        for example in (*check.bad, *check.good):
            result = run_check(check, make_run(**example.contents))
            assert result.outcome is not Outcome.CRASHED, (check.code, example.label, result.reason)
            unknown |= {(f.code, c.cause) for f in result.findings for c in f.clues if c.cause not in CAUSES}
    assert not unknown


def test_the_shared_list_of_labels_is_covered(shared: Path) -> None:
    text = (shared / "cases" / "causes.md").read_text(encoding="utf-8")
    labels = set(re.findall(r"^- `([a-z0-9-]+)`:", text, re.MULTILINE))
    assert len(labels) > 40
    assert labels - {"healthy", "undetermined"} <= set(CAUSES)
