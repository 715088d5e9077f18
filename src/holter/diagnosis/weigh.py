"""Adds up what the findings say for and against each cause.

Clues are log2 likelihood ratios. Two findings that rest on the same observation are not two pieces of evidence: clues
whose findings share a piece of evidence, or that give the same reason, form a bundle, and within a bundle the
strongest counts in full and each further one half as much as the one before. Bundles add up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holter.diagnosis.causes import CAUSES
from holter.finding import Clue, Finding

DAMPING = 0.5
"""What a further clue of the same bundle is worth beside the one before it: between 0 (the same observation said
twice) and 1 (independent observations)."""


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """One clue with the finding that gave it."""

    finding: Finding
    clue: Clue


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is known of one cause.

    Attributes:
        cause: its label.
        bits: log2 odds, prior included.
        clues: all clues, strongest first.
    """

    cause: str
    bits: float
    clues: tuple[Weighed, ...]

    @property
    def supporting(self) -> list[Weighed]:
        """Clues that speak for it, strongest first."""
        return [w for w in self.clues if w.clue.bits > 0]

    @property
    def opposing(self) -> list[Weighed]:
        """Clues that speak against it, strongest first."""
        return [w for w in self.clues if w.clue.bits < 0]


def weigh(findings: Iterable[Finding]) -> dict[str, Score]:
    """Label -> score, for each known cause that a finding speaks for or against."""
    gathered: dict[str, list[Weighed]] = defaultdict(list)
    for finding in findings:
        for clue in finding.clues:
            if clue.cause in CAUSES and clue.bits:
                gathered[clue.cause].append(Weighed(finding=finding, clue=clue))
    return {label: _score(label, clues) for label, clues in sorted(gathered.items())}


def _score(label: str, clues: Sequence[Weighed]) -> Score:
    ordered = sorted(clues, key=lambda w: (-abs(w.clue.bits), w.finding.code))
    bits = CAUSES[label].prior + sum(_worth(bundle) for bundle in _bundles(ordered))
    return Score(cause=label, bits=bits, clues=tuple(ordered))


def _worth(bundle: Sequence[Weighed]) -> float:
    bits = [w.clue.bits for w in bundle]
    return sum(_damped(sorted(side, key=abs, reverse=True)) for side in ([b for b in bits if b > 0], _negative(bits)))


def _negative(bits: Sequence[float]) -> list[float]:
    return [b for b in bits if b < 0]


def _damped(bits: Sequence[float]) -> float:
    return sum(value * DAMPING**rank for rank, value in enumerate(bits))


def _bundles(clues: Sequence[Weighed]) -> list[list[Weighed]]:
    """Groups of clues linked by a shared observation or reason."""
    bundles: list[tuple[set[object], list[Weighed]]] = []
    for weighed in clues:
        marks, members = _marks(weighed), [weighed]
        apart = []
        for other_marks, others in bundles:
            if marks & other_marks:
                marks |= other_marks
                members = others + members
            else:
                apart.append((other_marks, others))
        bundles = [*apart, (marks, members)]
    return [members for _, members in bundles]


def _marks(weighed: Weighed) -> set[object]:
    marks: set[object] = {("why", weighed.clue.why)} if weighed.clue.why else set()
    for evidence in weighed.finding.evidence:
        source = evidence.source
        marks.add(("text", evidence.text) if source is None else (source.file, source.line, source.key, source.cell))
    return marks
