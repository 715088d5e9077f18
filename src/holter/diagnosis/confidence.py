"""Turns weights into probabilities that mean what they say.

Causes compete only where they could explain the same finding. Among rivals, and against the possibility that it is
none of them, a cause's share is a softmax of its bits. ``benchmarks/calibrate.py`` finds the two constants that fit the
development cases best (temperature 1.0, 1.0 bit for none of these). Since the checks were developed on the same cases,
that fit is too sure for others; the constants below are on the cautious side of it. ``benchmarks/cases.py`` prints
stated against observed shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from holter.diagnosis.weigh import Score
from holter.finding import Severity

TEMPERATURE = 1.6
"""Bits are divided by it: checks are written one by one and are surer than they are right together."""

NONE_OF_THESE = 1.5
"""Bits of the possibility that the cause is none of those weighed."""

MOST = 0.98
"""No inference from what a run left behind is surer than this; only an experiment confirms."""


def confidences(
    scores: Mapping[str, Score],
    standing: Iterable[str],
    *,
    temperature: float = TEMPERATURE,
    none_of_these: float = NONE_OF_THESE,
) -> dict[str, float]:
    """Label -> probability in [0, 1], for the causes that are still standing."""
    labels = [label for label in standing if scores[label].supporting]
    findings = {label: _symptoms(scores[label]) for label in labels}
    shares = {label: 2.0 ** (scores[label].bits / temperature) for label in labels}
    none = 2.0 ** (none_of_these / temperature)
    result = {}
    for label in labels:
        rivals = sum(shares[other] for other in labels if other == label or _rivals(findings[label], findings[other]))
        result[label] = min(MOST, shares[label] / (none + rivals))
    return result


def _symptoms(score: Score) -> set[int]:
    """The findings above a note that the cause would explain; a note alone is a risk, not a symptom."""
    return {id(w.finding) for w in score.supporting if w.finding.severity > Severity.NOTE}


def _rivals(left: set[int], right: set[int]) -> bool:
    """Whether two causes would explain one symptom; a cause without a symptom of its own competes for all of them."""
    return not left or not right or bool(left & right)
