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
    """Measurements in order of separation per second, each with the causes it tells apart."""
    if not causes:
        general = WATCH if any(Stage.FORWARD <= f.stage <= Stage.UPDATE for f in findings) else LOOK_AT_START
        return (Next(measure=general.measure, command=general.command, separates=()),)
    ranked = sorted(causes, key=lambda c: -_gain(c))
    seen: set[str] = set()
    result = []
    for cause in ranked:
        confirm = CAUSES[cause.cause].confirm
        if confirm.measure in seen:
            continue
        seen.add(confirm.measure)
        result.append(Next(measure=confirm.measure, command=confirm.command, separates=_separated(cause, causes)))
    return tuple(result[:MOST_SUGGESTIONS])


def _gain(cause: RankedCause) -> float:
    """Expected separation per second: a yes-or-no answer with probability p settles at most p (1 - p)."""
    p = cause.confidence
    return p * (1.0 - p) / (CAUSES[cause.cause].confirm.cost + START_COST)


def _separated(cause: RankedCause, causes: Sequence[RankedCause]) -> tuple[str, ...]:
    others = [c.cause for c in causes if not same_cause(c.cause, cause.cause)]
    return (cause.cause, *others[:2])
