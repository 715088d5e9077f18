"""What a check is made of: its needs, its cases, and the class all checks derive from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from holter.finding import Basis, Clue, Evidence, Finding, Fix, Severity
from holter.names import config_name
from holter.run import Run
from holter.stages import Stage


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a check must have to say anything. What is missing is printed, never passed over in silence.

    Attributes:
        series: name -> fewest points.
        config: settings that must be known (given or default).
        facts: facts that must be known.
        any_of: alternatives; at least one group must be there in full. Each group holds names of series,
            settings, facts, or the words ``events``, ``code``, ``variants``, ``facts``, ``config``.
    """

    series: Mapping[str, int] = field(default_factory=dict)
    config: Sequence[str] = ()
    facts: Sequence[str] = ()
    any_of: Sequence[Sequence[str]] = ()

    def missing(self, run: Run) -> str | None:
        """One line naming what was wanted and what was there, or None when all is there."""
        for name, least in self.series.items():
            there = len(run.series[name]) if name in run.series else 0
            if there < least:
                return f"needs {least} logged {name} values, {there} found"
        for name in self.config:
            if run.setting(name) is None:
                return f"needs the setting {name}"
        for name in self.facts:
            if run.fact(name) is None:
                return f"needs {name} to have been measured"
        if self.any_of and not any(all(_has(run, name) for name in group) for group in self.any_of):
            return "needs " + ", or ".join(" and ".join(group) for group in self.any_of)
        return None


def _has(run: Run, name: str) -> bool:
    if name in ("events", "code", "variants", "facts", "config"):
        return bool(getattr(run, name))
    if run.series.get(name) or name in run.config or name in run.facts:
        return True
    return any(config_name(other) == name for other in run.facts)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run in miniature, with a label: a test of the check and an example in its page."""

    label: str
    contents: Mapping[str, Any]


def case(label: str, **contents: Any) -> Case:
    """A case; see `holter.testing.make_run` for what ``contents`` may hold."""
    return Case(label=label, contents=contents)


def script(label: str, text: str) -> Case:
    """A case that is one Python file."""
    return case(label, files={"a.py": text})


class Check(ABC):
    """Base of all checks. The docstring of a check is its page in the manual, with these headings, each followed
    by a paragraph: ``What it looks for``, ``Why it hurts``, ``How to fix it``, ``When to ignore it``,
    ``Threshold``, ``Sources``.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity]
    stage: ClassVar[Stage]
    needs: ClassVar[Needs] = Needs()
    second_look: ClassVar[bool] = False
    explains_symptoms: ClassVar[bool] = False
    factor: ClassVar[str | None] = None
    bad: ClassVar[Sequence[Case]]
    good: ClassVar[Sequence[Case]]
    not_enough: ClassVar[Sequence[Case]]

    @classmethod
    def load(cls) -> type[Check]:
        """Itself; a check of which only the entry is known (`holter.checks.registry.Entry`) is imported here."""
        return cls

    @abstractmethod
    def detect(self, run: Run) -> Iterable[Finding]:
        """Yield what was found in ``run``; only called when ``needs`` are met."""

    def finding(
        self,
        message: str,
        *,
        evidence: Iterable[Evidence],
        clues: Iterable[Clue] = (),
        step: int | None = None,
        severity: Severity | None = None,
        stage: Stage | None = None,
        fix: Fix | None = None,
        basis: Basis = Basis.INFERRED,
    ) -> Finding:
        """A finding of this check; severity and stage default to the class's."""
        return Finding(
            code=self.code,
            name=self.name,
            message=message,
            severity=self.severity if severity is None else severity,
            stage=self.stage if stage is None else stage,
            evidence=tuple(evidence),
            clues=tuple(clues),
            step=step,
            fix=fix,
            basis=basis,
        )


class SecondLook(Check):
    """A check that looks at what the others found, too, and has its turn after them.

    One that ``explains_symptoms`` runs only where a symptom was found: alone it would find a cause for everything.
    """

    second_look = True

    def detect(self, run: Run) -> Iterable[Finding]:
        """What it finds where nobody found anything."""
        return self.review(run, ())

    @abstractmethod
    def review(self, run: Run, found: Sequence[Finding]) -> Iterable[Finding]:
        """Yield what was found in ``run``, given all findings so far; only called when ``needs`` are met."""


def clues(why: str, **bits: float) -> Iterator[Clue]:
    """Several clues with one reason: ``clues("...", fp16_overflow=3, lr_too_high=-1)``; ``_`` stands for ``-``."""
    for cause, weight in bits.items():
        yield Clue(cause=cause.replace("_", "-"), bits=weight, why=why)
