"""What to measure next: the cheapest measurement that separates the causes still standing."""

from __future__ import annotations

from collections.abc import Sequence

from holter.diagnosis.cause import Measurement
from holter.diagnosis.causes import CAUSES, same_cause
from holter.diagnosis.result import Next, RankedCause
from holter.finding import Finding
from holter.stages import Stage

MOST_SUGGESTIONS = 3
"""Measurements listed: a person does one, reads the answer and asks again."""

NAMED = 0.5
"""Confidence from which the first measurement is the one that confirms the leading cause."""

MOST_MEASURES = 2
"""Sentences in one suggestion."""

MOST_NAMED = 3
"""Causes named beside a suggestion, unless the command settles more."""

START_COST = 30.0
"""Seconds to start anything at all; added to each cost, so that a tiny cost does not outweigh a clear separation."""

WATCH = Measurement(
    measure=(
        "Run again with callbacks=[holter.Guard()]: at the first impossible number it replays the step and names the "
        "first module whose output is not finite, and the rows involved."
    ),
    command="",
    cost=120.0,
)
LOOK_AT_START = Measurement(
    measure="Check data, tokenizer, one batch, model and two real steps before training again.",
    command="holter check RECIPE",
    cost=60.0,
)


def suggest(causes: Sequence[RankedCause], findings: Sequence[Finding]) -> tuple[Next, ...]:
    """Measurements in order of separation per second, each with the causes it tells apart.

    Measurements that one command makes are one suggestion. A cause that is named is confirmed first.
    """
    if not causes:
        general = WATCH if any(Stage.FORWARD <= f.stage <= Stage.UPDATE for f in findings) else LOOK_AT_START
        return (Next(measure=general.measure, command=general.command, separates=()),)
    together: dict[str, list[RankedCause]] = {}
    for cause in causes:
        confirm = CAUSES[cause.cause].confirm
        together.setdefault(confirm.command or confirm.measure, []).append(cause)
    named = causes[0] if causes[0].confidence >= NAMED else None
    ranked = sorted(together.values(), key=lambda group: (named not in group, -_gain(group)))
    return tuple(_next(group, causes) for group in ranked[:MOST_SUGGESTIONS])


def _gain(group: Sequence[RankedCause]) -> float:
    """Expected separation per second: a yes-or-no answer with probability p settles at most p (1 - p)."""
    settled = sum(c.confidence * (1.0 - c.confidence) for c in group)
    return settled / (max(CAUSES[c.cause].confirm.cost for c in group) + START_COST)


def _next(group: Sequence[RankedCause], causes: Sequence[RankedCause]) -> Next:
    measures = dict.fromkeys(CAUSES[c.cause].confirm.measure for c in group[:MOST_MEASURES])
    inside = [c.cause for c in group]
    others = [c.cause for c in causes if not any(same_cause(c.cause, label) for label in inside)]
    separates = (*inside, *others)[: max(len(inside), MOST_NAMED)]
    return Next(measure=" ".join(measures), command=CAUSES[inside[0]].confirm.command, separates=separates)
