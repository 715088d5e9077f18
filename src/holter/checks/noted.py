"""Single observations that somebody noted, with their names as words: ``lm_head.weight_in_checkpoint: false``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from holter.checks.look import OFF, ON, written
from holter.checks.symptoms import COMPLAINTS
from holter.finding import Evidence
from holter.patterns import regex
from holter.run import Authority, Run

_PARTS = regex(r"[_.\-/\s\[\]()]+")
_CAMEL = regex(r"(?<=[a-z])(?=[A-Z])")

QUOTED = 120
"""Characters of a value that are shown: it is one line of several."""


@dataclass(frozen=True, kw_only=True)
class Noted:
    """One observation.

    Attributes:
        name: as written.
        words: the name in lower case, its parts set apart by blanks.
        value: plain value.
        evidence: where it stands.
    """

    name: str
    words: str
    value: Any
    evidence: Evidence

    @property
    def flag(self) -> bool | None:
        """A yes or no, None for any other value."""
        if isinstance(self.value, bool):
            return self.value
        word = self.value.strip().lower() if isinstance(self.value, str) else ""
        return True if word in ON - {"1"} else False if word in OFF - {"0", "", "none", "null"} else None

    @property
    def texts(self) -> list[str]:
        """The texts in it: itself, or those of a list."""
        items = self.value if isinstance(self.value, list) else [self.value]
        return [item for item in items if isinstance(item, str)]


def noted(run: Run) -> Iterator[Noted]:
    """Every fact that is no mapping, as it is believed; the entries of mappings are facts of their own.

    What Holter itself measured has names with one meaning, and is not guessed at.
    """
    for name, values in run.facts.items():
        for given in values if name in COMPLAINTS else values[:1]:  # remarks stand beside each other
            value = given.value
            if not isinstance(value, dict) and given.authority not in (Authority.RECORDED, Authority.MEASURED):
                text = f"{name} is {written(value)}"[:QUOTED]
                evidence = Evidence(text=text, source=given.source, value=value)
                yield Noted(name=name, words=words_of(name), value=value, evidence=evidence)


def remarks(run: Run) -> Iterator[Noted]:
    """As `noted`, and settings whose value is a sentence: people write what they saw into either file."""
    yield from noted(run)
    for name, values in run.config.items():
        value = values[0].value
        if isinstance(value, str) and " " in value.strip():
            evidence = Evidence(text=f"{name} is {value}"[:QUOTED], source=values[0].source, value=value)
            yield Noted(name=name, words=words_of(name), value=value, evidence=evidence)


def words_of(name: str) -> str:
    """A name in lower case with blanks between its parts."""
    return " ".join(_PARTS.split(_CAMEL.sub(" ", name))).lower().strip()


def pairs(facts: Sequence[Noted], first: re.Pattern[str], second: re.Pattern[str]) -> Iterator[tuple[Noted, Noted]]:
    """Observations of one thing under two conditions: the names are alike without the words for the condition.

    Args:
        facts: in any order.
        first: the words for one condition, met once in a name.
        second: those for the other.
    """
    left = {_without(first, fact): fact for fact in facts if first.search(fact.words)}
    for fact in facts:
        if second.search(fact.words) and (other := left.get(_without(second, fact))) is not None and other is not fact:
            yield other, fact


def _without(words: re.Pattern[str], fact: Noted) -> str:
    return " ".join(words.sub(" ", fact.words, count=1).split())


_APPROXIMATE = regex(
    r"^(?:about|around|approx\w*\.?|roughly|nearly|almost|some|over|under|above|below|more than|less than|at least"
    r"|up to|[~<>≈≥≤=]+)*\s*(\d[\d,_]*(?:\.\d+)?(?:e[+-]?\d+)?)\s*(%|k\b|m\b)?",
    re.I,
)
_UNITS = {"k": 1e3, "m": 1e6}


def approximate(value: Any) -> float | None:
    """A number, also where words stand around it: ``about 15000``, ``97%``; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if not isinstance(value, str):
        return float(value)
    found = _APPROXIMATE.match(value.strip())
    if found is None:
        return None
    return float(re.sub(r"[,_]", "", found[1])) * _UNITS.get((found[2] or "").lower(), 1.0)
