"""What a run says about its dynamic loss scale: overflow lines and the series ``loss_scale``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from holter.checks.noted import noted
from holter.checks.shape import point
from holter.checks.symptoms import number
from holter.finding import Evidence
from holter.patterns import regex
from holter.run import EVENT_ERROR, EVENT_MESSAGE, EVENT_OVERFLOW, EVENT_WARNING, Event, Run

AT_MINIMUM = regex(
    r"already at minimum|minimum loss scale|loss scale (?:is )?(?:too low|below)|"
    r"reducing (?:loss scale )?to 0(?:\.0*)?(?!\.?\d)|"
    r"minimum scale|loss scaler.*underflow|loss exploding|min_loss_scale|ZeroDivisionError.*scale|"
    r"\b(?:grad(?:ient)?|loss|amp)[ _-]?scal(?:e|er|ing)\b[^.;|\n]{0,20}\btoo (?:small|low)\b",
    re.IGNORECASE,
)
"""How DeepSpeed, fairseq, Apex, Megatron and icefall say that the scale cannot fall any further."""

NAMES_SCALE = regex(
    r"\b(?:grad(?:ient)?|loss|amp)[ _-]?scal(?:e|er)\b[^\d\n|]{0,20}?(?P<scale>\d[\d.]*(?:e[+-]?\d+)?)"
    r"(?P<too> (?:is )?too (?:small|low))?",
    re.IGNORECASE,
)
"""A line that names the scale and its size."""

FLOOR = 1.0
"""A scale of 1 is no scale: gradients overflow although the loss is not multiplied at all."""

TINY = 1e-3
"""A scale that shrinks the loss instead of raising it: no level that works lies there. A sum over many frames may have
its level at 1/8; icefall warns below 1/100 and stops below 1e-5."""


FIRST_SCALE = regex(r"\bloss scale\b.*\b(?:start|first|begin\w*)\b|\b(?:first|starting) loss scale\b")
LAST_SCALE = regex(r"\bloss scale\b.*\b(?:end|final|last|now|finally)\b|\b(?:final|last|ending) loss scale\b")
SCALE_OF = regex(
    r"^(?:(?:dynamic|current|final|last|amp|fp16|apex|scaler|grad scaler) )*"
    r"(?:(?:loss|grad|gradient|amp) scaler?|get scale)$"
)
"""Names of the scale at the start, at the end, and at all."""

ROUNDED = 0.03
"""Of a power of two: a log rounds to three digits."""


@dataclass(frozen=True, kw_only=True)
class ScaleStep:
    """The scale after one overflow, or at one logged point."""

    scale: float
    evidence: Evidence
    step: int | None


def overflows(run: Run) -> list[Event]:
    """Overflow lines in file order, forgiven ones (hysteresis) included."""
    return run.events_of(EVENT_OVERFLOW)


def scale_course(run: Run) -> list[ScaleStep]:
    """The scale over time: from overflow lines, else from the logged series."""
    lines = []
    for event in overflows(run):
        scale = number(event.data.get("reducing_to"))
        scale = number(event.data.get("loss_scale")) if scale is None else scale
        if scale is not None:
            evidence = Evidence(text=event.text[:160], source=event.source, step=event.step, value=scale)
            lines.append(ScaleStep(scale=scale, evidence=evidence, step=event.step))
    series = run.series.get("loss_scale")
    if not lines and series is not None:
        lines = [ScaleStep(scale=v, evidence=point(series, i), step=series.step(i)) for i, v in enumerate(series)]
    return [*_noted(run, FIRST_SCALE), *lines, *_noted(run, LAST_SCALE)]


def _noted(run: Run, when: re.Pattern[str]) -> Iterator[ScaleStep]:
    """The scale with which the run began or ended, where somebody noted it."""
    for fact in noted(run):
        scale = number(fact.value)
        if when.search(fact.words) and scale is not None:
            yield ScaleStep(scale=scale, evidence=fact.evidence, step=None)
            return


def says_minimum(run: Run) -> Evidence | None:
    """A line that says the scale is at its floor, or None."""
    wanted: Iterable[Event] = run.events_of(EVENT_ERROR, EVENT_WARNING, EVENT_OVERFLOW, EVENT_MESSAGE)
    for event in wanted:
        told = event.kind != EVENT_MESSAGE
        if (told and AT_MINIMUM.search(event.text)) or named_tiny(event):
            return Evidence(text=event.text[-160:], source=event.source, step=event.step)
    for row in run.variants:
        for name, cell in row.items():
            if isinstance(cell.value, str) and AT_MINIMUM.search(cell.value):
                return Evidence(text=f"{name}: {cell.value}"[:160], source=cell.source)
    return _noted_tiny(run)


def named_tiny(event: Event) -> bool:
    """Whether a line, other than one on an overflow, names a scale far below 1, or one that is too small."""
    for text in () if event.kind == EVENT_OVERFLOW else (event.text, *event.data.get("others", ())):
        found = NAMES_SCALE.search(text)
        scale = number(found["scale"].rstrip(".")) if found is not None else None
        told = event.kind in (EVENT_ERROR, EVENT_WARNING)
        if found is not None and scale is not None and ((told and 0.0 < scale < TINY) or found["too"] is not None):
            return True
    return False


def _noted_tiny(run: Run) -> Evidence | None:
    """A scale far below 1, or that it is too small, among what somebody noted."""
    for fact in noted(run):
        if AT_MINIMUM.search(f"{fact.name}: {fact.value}"):
            return fact.evidence
        scale = number(fact.value) if SCALE_OF.search(fact.words) else None
        if scale is not None and 0.0 < scale < TINY:
            return fact.evidence
    return None


def is_tiny(scale: float) -> bool:
    """Whether a logged scale is far below 1 and a power of two, as a dynamic scaler's is after every halving."""
    return 0.0 < scale < TINY and abs(math.log2(scale) - round(math.log2(scale))) < ROUNDED


def skipped_share(run: Run) -> float | None:
    """Overflows per optimizer step of the log, None where the log does not reach far enough to tell."""
    last = [series.steps[-1] for series in run.series.values() if len(series) and series.steps[-1] > 0]
    steps = max(last, default=0.0)
    return sum(event.count for event in overflows(run)) / steps if steps >= 1 else None
