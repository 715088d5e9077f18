"""A diagnosis: findings weighed into ranked causes, what was ruled out, and what to measure next."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from holter.finding import Basis, Evidence, Finding, Fix
from holter.run import Gap, Input

SCHEMA = "holter.diagnosis/1"


class Verdict(enum.Enum):
    """``healthy`` means no finding of level warning or error."""

    FAULT = "fault"
    HEALTHY = "healthy"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, kw_only=True)
class RankedCause:
    """A cause with its weight. ``confidence`` is a calibrated probability in [0, 1]."""

    cause: str
    title: str
    confidence: float
    basis: Basis
    explanation: str
    evidence: tuple[Evidence, ...]
    against: tuple[Evidence, ...] = ()
    codes: tuple[str, ...] = ()
    fix: Fix | None = None
    expect: str = ""


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A cause that was ruled out, with the reason."""

    cause: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Next:
    """A measurement that would separate the causes still standing; the cheapest first."""

    measure: str
    command: str
    separates: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A check that did not run, and what it lacked or how it failed."""

    code: str
    name: str
    reason: str
    crashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The answer, from which every form of report is made."""

    verdict: Verdict
    causes: tuple[RankedCause, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    next: tuple[Next, ...] = ()
    findings: tuple[Finding, ...] = ()
    passed: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    gaps: tuple[Gap, ...] = ()
    inputs: tuple[Input, ...] = ()
    notes: tuple[str, ...] = field(default=())
