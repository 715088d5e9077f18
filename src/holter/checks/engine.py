"""Runs checks over a Run. One that crashes never stops the others, and none is passed over in silence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from holter.checks.base import Check, SecondLook
from holter.checks.registry import Entry
from holter.finding import Finding, Outcome, Severity
from holter.run import Run


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What became of one check; ``reason`` says what it lacked or how it crashed."""

    check: type[Check] | Entry
    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    reason: str = ""


@dataclass(kw_only=True)
class CheckResults:
    """The outcomes of all checks, in order of code."""

    results: list[CheckResult] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """All findings, in order of code."""
        return [finding for result in self.results for finding in result.findings]

    def of(self, outcome: Outcome) -> list[CheckResult]:
        """The results with one outcome."""
        return [result for result in self.results if result.outcome is outcome]


def run_check(check: type[Check] | Entry, run: Run, found: Sequence[Finding] = ()) -> CheckResult:
    """The outcome of one check on one run; a second look is given what was ``found`` so far."""
    lacking = check.needs.missing(run)
    if lacking is not None:
        return CheckResult(check=check, outcome=Outcome.SKIPPED, reason=lacking)
    try:
        asked = check.load()()
        findings = tuple(asked.review(run, found) if isinstance(asked, SecondLook) else asked.detect(run))
    except Exception as error:
        return CheckResult(check=check, outcome=Outcome.CRASHED, reason=f"{type(error).__name__}: {error}")
    outcome = Outcome.FOUND if findings else Outcome.PASSED
    return CheckResult(check=check, outcome=outcome, findings=findings)


def run_checks(run: Run, checks: Iterable[type[Check] | Entry]) -> CheckResults:
    """The outcomes of several checks on one run, in their order, though second looks have their turns last,
    and those that explain symptoms after all that see some. One given as its entry is imported if its needs are met."""
    asked = list(checks)
    outcomes = {check.code: run_check(check, run) for check in asked if not check.second_look}
    second_looks = [check for check in asked if check.second_look]
    for check in sorted(second_looks, key=lambda check: check.explains_symptoms):
        found = [finding for result in outcomes.values() for finding in result.findings]
        outcomes[check.code] = _look_again(check, run, found)
    return CheckResults(results=[outcomes[check.code] for check in asked])


def _look_again(check: type[Check] | Entry, run: Run, found: Sequence[Finding]) -> CheckResult:
    if check.explains_symptoms and all(finding.severity < Severity.WARNING for finding in found):
        reason = "no symptom was found that it could help to explain"
        return CheckResult(check=check, outcome=Outcome.SKIPPED, reason=reason)
    return run_check(check, run, found)
