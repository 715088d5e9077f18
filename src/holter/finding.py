"""What a check says, and what a diagnosis is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from holter.run import Source
from holter.stages import Stage


class Severity(enum.IntEnum):
    """``error``: the result is wrong; ``warning``: likely costs quality, time or money; ``note``: worth knowing."""

    NOTE = 0
    WARNING = 1
    ERROR = 2

    @property
    def word(self) -> str:
        """The word used in every form of report, the same as SARIF's."""
        return self.name.lower()


class Basis(enum.IntEnum):
    """``inferred`` from artefacts, ``measured`` on live objects, ``confirmed`` by an experiment."""

    INFERRED = 0
    MEASURED = 1
    CONFIRMED = 2

    @property
    def word(self) -> str:
        """The word used in every form of report."""
        return self.name.lower()


class Outcome(enum.Enum):
    """What became of a check."""

    FOUND = "found"
    PASSED = "passed"
    SKIPPED = "skipped"
    CRASHED = "crashed"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One observation with its place. A sentence without evidence is not a finding.

    Attributes:
        text: one line in plain words, with the value.
        source: where it stands; None only for a conclusion computed from several sources.
        step: optimizer updates done, None where unknown.
        value: the number or text itself.
    """

    text: str
    source: Source | None = None
    step: int | None = None
    value: Any = None


@dataclass(frozen=True, kw_only=True)
class Clue:
    """How far an observation speaks for a cause, or against it.

    Attributes:
        cause: a label of `holter.diagnosis.causes`.
        bits: log2 of the likelihood ratio; negative speaks against. +1 doubles the odds, +7 settles it alone.
        why: one clause that completes "speaks for it, since ...".
    """

    cause: str
    bits: float
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One edit of a user's file: ``key`` from ``old`` to ``new``; ``file`` is None when no file holds the key yet."""

    key: str
    new: Any
    old: Any = None
    file: str | None = None


@dataclass(frozen=True, kw_only=True)
class Fix:
    """One change to make now, in a sentence and as edits."""

    summary: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing a check found.

    Attributes:
        code: of the check, such as ``NUM001``.
        name: of the check, such as ``non-finite-loss``.
        message: one sentence with the values of this run.
        severity: see `Severity`.
        stage: where in the step the symptom shows; the rule of stages excludes causes that act later.
        step: optimizer updates done *before* the symptom's forward pass (0: no update had been made), None if unknown.
        evidence: at least one.
        clues: causes it speaks for or against.
        fix: the change it calls for by itself, if any.
        basis: inferred, measured or confirmed.
    """

    code: str
    name: str
    message: str
    severity: Severity
    stage: Stage
    evidence: tuple[Evidence, ...]
    step: int | None = None
    clues: tuple[Clue, ...] = ()
    fix: Fix | None = None
    basis: Basis = Basis.INFERRED
