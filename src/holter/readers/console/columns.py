"""Two bare columns, a step and a loss, without a header: what a script prints that says nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from holter.patterns import regex
from holter.readers.console.row import Row
from holter.readers.numbers import NUMBER, number

LEAST = 4
"""Lines in a row, each with a higher step by the same distance, that make it a log and no table of something else."""

_TWO = regex(rf"\s*(?P<step>\d{{1,9}})[:,]?\s+(?P<value>{NUMBER})\s*")


@dataclass
class Columns:
    """The lines seen so far; a line of anything else between them does not end the log once it is one."""

    waiting: list[tuple[int, Row]] = field(default_factory=list)
    sure: bool = False

    def feed(self, line: int, body: str) -> list[tuple[int, Row]]:
        """Rows that are now known to be of a log, with their lines; empty where that is not, or not yet, so."""
        row = _row(body)
        if row is None:
            if body.strip() and not self.sure:
                self.waiting.clear()
            return []
        if self.waiting and not self._continues(row):
            self.waiting, self.sure = [], False
        self.waiting.append((line, row))
        if self.sure:
            self.waiting = self.waiting[-2:]
            return [(line, row)]
        self.sure = len(self.waiting) >= LEAST
        return list(self.waiting) if self.sure else []

    def _continues(self, row: Row) -> bool:
        """Whether the step grows, and by the distance of the two before."""
        steps = [seen.step for _, seen in self.waiting[-2:]] + [row.step]
        gaps = [late - early for early, late in pairwise(steps)]
        return all(gap > 0 for gap in gaps) and len(set(gaps)) == 1


def _row(body: str) -> Row | None:
    match = _TWO.fullmatch(body)
    value = None if match is None else number(match["value"])
    if match is None or value is None or ("." not in match["value"] and math.isfinite(value)):
        return None
    return Row(fields={"loss": value}, step=float(match["step"]))
