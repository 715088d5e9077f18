"""Findings and check results in miniature."""

from __future__ import annotations

from collections.abc import Sequence

from holter.checks.base import Check
from holter.checks.engine import CheckResult, CheckResults
from holter.finding import Basis, Clue, Evidence, Finding, Fix, Outcome, Severity
from holter.run import Run, Source
from holter.stages import Stage


class Stub(Check):
    """Stands where a check stands; its findings are given."""

    code = "STB001"
    name = "stub"
    title = "Stub"
    severity = Severity.ERROR
    stage = Stage.LOSS

    def detect(self, run: Run) -> list[Finding]:
        return []


def finding(
    *clues: Clue,
    code: str = "STB001",
    step: int | None = None,
    stage: Stage = Stage.LOSS,
    severity: Severity = Severity.ERROR,
    line: int = 1,
    at: int | None = None,
    fix: Fix | None = None,
    basis: Basis = Basis.INFERRED,
) -> Finding:
    return Finding(
        code=code,
        name="stub",
        message="loss is nan",
        severity=severity,
        stage=stage,
        step=step,
        evidence=(Evidence(text=f"observation {line}", source=Source(file="log.txt", line=line), step=at),),
        clues=clues,
        fix=fix,
        basis=basis,
    )


def results(*findings: Finding, skipped: Sequence[str] = ()) -> CheckResults:
    found = CheckResult(check=Stub, outcome=Outcome.FOUND if findings else Outcome.PASSED, findings=findings)
    lacking = [CheckResult(check=Stub, outcome=Outcome.SKIPPED, reason=reason) for reason in skipped]
    return CheckResults(results=[found, *lacking])
