"""Checks are told from a table before they are imported; the table says what their classes say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from holter.checks import registry
from holter.checks.engine import run_check, run_checks
from holter.checks.registry import CHECKS, Entry, all_checks, entries, load
from holter.finding import Outcome
from holter.run import Run
from holter.testing import make_run

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import make_needs

NOTHING_SAID = Run()
NUMBERS = make_run(series={"loss": [2.0, 1.5, float("nan"), 0.0]}, config={"fp16": True, "learning_rate": 5e-5})
WORDS = make_run(files={"log.txt": "CUDA out of memory\n", "train.py": "trainer.train()\n"})
FACTS = make_run(facts={"observed": "the loss is always 0", "optimizer.epsilon": 1e-8})
RUNS = pytest.mark.parametrize("run", [NOTHING_SAID, NUMBERS, WORDS, FACTS], ids=["empty", "numbers", "words", "facts"])


def told(results):
    return [(r.check.code, r.check.name, r.outcome, r.reason, repr(r.findings)) for r in results.results]


def test_the_table_is_up_to_date():
    stale = make_needs.table() != registry.NEEDS.read_bytes()
    assert not stale, "a check says otherwise than needs.json; run `make docs` or python scripts/make_needs.py"


@RUNS
def test_what_the_table_skips_the_classes_skip_for_the_same_reason(run):
    listed = list(entries())
    assert all(isinstance(entry, Entry) for entry in listed)
    assert [entry.code for entry in listed] == sorted(CHECKS)
    assert told(run_checks(run, listed)) == told(run_checks(run, all_checks()))


def test_a_check_without_what_it_needs_is_not_imported():
    code = (
        "import sys; from holter.diagnosis import diagnose; from holter.run import Run\n"
        "print(len(diagnose(Run()).skipped), *(name for name in sys.modules if name.startswith('holter.checks.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    skipped, *imported = done.stdout.split()
    lacking = [check for check in all_checks() if check.needs.missing(NOTHING_SAID) is not None]
    assert len(lacking) <= int(skipped)
    assert not {check.__module__ for check in lacking} & set(imported)


def test_a_check_that_the_table_does_not_hold_yet_comes_as_its_class(tmp_path, monkeypatch):
    known = json.loads(registry.NEEDS.read_text(encoding="utf-8"))
    del known["NUM001"]
    (tmp_path / "needs.json").write_text(json.dumps(known), encoding="utf-8")
    monkeypatch.setattr(registry, "NEEDS", tmp_path / "needs.json")
    listed = {entry.code: entry for entry in entries()}
    assert listed.pop("NUM001") is load("NUM001")
    assert len(listed) == len(CHECKS) - 1 and all(isinstance(entry, Entry) for entry in listed.values())


def test_a_check_that_cannot_be_imported_is_told_as_crashed(monkeypatch):
    entry = next(entry for entry in entries() if entry.code == "NUM001")
    monkeypatch.setitem(CHECKS, "NUM001", "numerics.not_there:NotThere")
    result = run_check(entry, NUMBERS)
    assert result.outcome is Outcome.CRASHED and "not_there" in result.reason
    assert run_check(entry, NOTHING_SAID).outcome is Outcome.SKIPPED
