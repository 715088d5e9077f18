"""The samples that the demonstration and the README show are diagnosed as they should be."""

from pathlib import Path

import pytest

import holter
from holter.diagnosis.result import Verdict

SAMPLES = Path(__file__).parents[1] / "samples"


def diagnosis_of(name):
    return holter.diagnose(holter.read([SAMPLES / name]))


def test_the_noisy_run_is_healthy():
    found = diagnosis_of("healthy")
    assert found.verdict is Verdict.HEALTHY
    assert not found.notes


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("fp16-overflow", "fp16-overflow"),
        ("loss-scale", "grad-accum-loss-scale"),
        ("labels-masked", "labels-all-masked"),
    ],
)
def test_the_cause_is_named(name, cause):
    found = diagnosis_of(name)
    assert found.verdict is Verdict.FAULT
    assert found.causes[0].cause == cause
    assert found.causes[0].fix is not None
    assert all(e.source is None or e.source.file for e in found.causes[0].evidence)


def test_notebook_and_script_disagree_and_the_notebook_is_believed():
    found = diagnosis_of("fp16-overflow")
    told = next(f for f in found.findings if f.code == "CFG001")
    assert {e.source.file for e in told.evidence} == {"train.ipynb", "train.py"}
    files = {change.file for change in found.causes[0].fix.changes}
    assert "train.ipynb" in files


def test_the_factor_is_eight_and_late_causes_are_ruled_out():
    found = diagnosis_of("loss-scale")
    assert any("8 times" in f.message for f in found.findings)
    excluded = {e.cause for e in found.excluded}
    assert {"warmup-missing", "lr-too-high", "grad-clip-too-strict"} <= excluded


def test_nan_alone_settles_nothing():
    found = diagnosis_of("unsettled")
    assert found.verdict is Verdict.UNDETERMINED
    assert found.next
    assert {"fp16-overflow", "labels-all-masked"} <= {c.cause for c in found.causes}
