"""NUM008 loss-scale-at-floor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import Compute, family, precision
from holter.checks.numerics._scaler import FLOOR, ScaleStep, is_tiny, named_tiny, overflows, says_minimum, scale_course
from holter.checks.shape import point, shape
from holter.finding import Clue, Evidence, Finding, Severity
from holter.knowledge.families import Fp16Record
from holter.run import EVENT_ERROR, EVENT_OVERFLOW, Event, Run, Source
from holter.stages import Stage

LOW_SCALE = 128.0
"""Healthy fp16 runs settle between 2**10 and 2**30; below 2**7 the search has gone past every level that works."""

SWING = 4.0
"""Largest over smallest scale of a scaler at its level: it doubles after a window without overflow, and halves at
one."""

SELDOM = 0.01
"""Overflows an update. A scaler at its level overflows about once a window of 250 to 2000 updates."""

MIN_FALLS = 6
"""Overflows in an unbroken row that end at or below `LOW_SCALE`: from 2**13 that is what it takes to get there."""


def _overflow(scale: float, to: float) -> Event:
    text = f"OVERFLOW! Skipping step. Attempted loss scale: {scale:g}, reducing to {to:g}"
    return Event(
        kind=EVENT_OVERFLOW, text=text, source=Source(file="case"), data={"loss_scale": scale, "reducing_to": to}
    )


def _falls(first: float, count: int) -> list[Event]:
    return [_overflow(first / 2**i, first / 2 ** (i + 1)) for i in range(count)]


_AT_MINIMUM = Event(
    kind=EVENT_ERROR,
    text="Exception: Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.",
    source=Source(file="case"),
)


class LossScaleAtFloor(Check):
    """The dynamic loss scale falls step by step to its floor.

    What it looks for: a scale that fell to 1 or below, an unbroken fall of many halvings to a small scale, a line that
    says the scale is at its minimum, or a count of skipped steps that grows by every step.

    Why it hurts: every step gives non-finite gradients however small the scale, so it is the forward pass that
    overflows, not the scaled backward pass. All those steps were skipped: nothing was trained.

    A scale far below 1, named in a line or logged, is past every level that works, whatever came before it.

    How to fix it: train in bf16 or fp32. A smaller initial scale only shortens the fall.

    When to ignore it: when the fall stops well above 1 and training goes on; that is the scaler finding its level.

    Threshold: ``FLOOR``, or `MIN_FALLS` halvings that end below `LOW_SCALE`, or ``TINY`` at any time.

    Sources: DeepSpeed ``DynamicLossScaler`` (min_scale 1); torch.amp.GradScaler; Micikevicius et al. 2018, section 3.2.
    """

    code = "NUM008"
    name = "loss-scale-at-floor"
    title = "The loss scale falls to its floor"
    severity = Severity.ERROR
    stage = Stage.UNSCALE
    needs = Needs(any_of=(("events",), ("loss_scale",), ("skipped_steps",), ("facts",), ("variants",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        said, course = says_minimum(run), scale_course(run)
        if not is_exhausted(run):
            return
        evidence: list[Evidence] = [said] if said is not None else []
        if course:
            evidence += [course[0].evidence, course[-1].evidence]
        skipped = run.series.get("skipped_steps")
        if not evidence and skipped is not None:
            evidence.append(point(skipped, len(skipped) - 1))
        bottom = f" ({course[0].scale:g} to {course[-1].scale:g} in {len(course)} steps)" if course else ""
        floor = "The loss scale falls to its floor" if said is not None or course else "No update of the log was made"
        yield self.finding(
            f"{floor}{bottom}: every step overflows and is skipped",
            evidence=evidence,
            step=0 if _from_the_start(run) else course[0].step if course else None,
            clues=list(_clues(run)),
        )

    bad = [
        case("to 1", events=_falls(65536.0, 16)),
        case("the floor is named", events=[_AT_MINIMUM]),
        case("a warning with a scale far below 1", files={"log.txt": "WARNING Grad scale is small: 3.05e-05\n"}),
        case("in words", variants=[{"lr": 0.045, "result": "gradient scale is too small"}, {"lr": 0.02}]),
        case("one line far below 1", series={"loss_scale": [6.103515625e-05]}),
        case("printed as nothing", series={"loss_scale": [0.0, 0.0]}, config={"fp16": True}),
        case("noted far below 1", facts={"scaler.get_scale()": 1.0842e-19}),
        case("the series", series={"loss_scale": [2.0**k for k in range(16, -1, -1)]}),
        case("noted at both ends", facts={"loss_scale_first": 65536, "loss_scale_last": 1}),
        case("noted at the end", events=_falls(65536.0, 2), facts={"loss_scale_at_end": 1}),
        case("every update skipped", series={"skipped_steps": [float(n) for n in range(1, 9)]}, steps=[*range(1, 9)]),
        case("every update since the line before", series={"skipped_steps": [10.0] * 8}, steps=[*range(10, 90, 10)]),
        case("cut off on the way", events=_falls(8192.0, 10)),
    ]
    good = [
        case("finds its level", events=_falls(4294967296.0, 6)),
        case(
            "a low level, once a window",
            events=[_overflow(2.0, 1.0), _overflow(2.0, 1.0), _overflow(1.0, 0.5)],
            series={"grad_norm": [0.23, 0.24, 0.23]},
            steps=[20000, 20250, 20500],
        ),
        case(
            "one overflow at a low level",
            events=[_overflow(1.0, 1.0)],
            series={"grad_norm": [0.29, 0.31]},
            steps=[2910, 3009],
        ),
        case("noted at both ends, high", facts={"loss_scale_first": 65536, "loss_scale_last": 1024}),
        case("noted at the end, high", events=_falls(65536.0, 2), facts={"loss_scale_at_end": 4096}),
        case("one overflow", events=[_overflow(65536.0, 32768.0)]),
        case("no scaler", series={"loss_scale": [1.0] * 8}),
        case("the weight of a part", facts={"kl_loss_scale": 1e-6}),
        case("a factor of one's own", series={"loss_scale": [1e-4] * 8}),
        case("a warning at a level that works", files={"log.txt": "WARNING Grad scale is small: 0.00390625\n"}),
        case("skipped at first", series={"skipped_steps": [3.0] * 8}, steps=[*range(4, 12)]),
        case("settles at 1024", series={"loss_scale": [65536.0, 16384.0, 4096.0, 1024.0, 1024.0, 2048.0]}),
    ]
    not_enough = [case("no log", series={"loss": [2.0]})]


def is_exhausted(run: Run) -> bool:
    """Whether the scale is at its floor, is said to be, or was still falling fast at a small value."""
    course = scale_course(run)
    fell = bool(course) and (course[-1].scale < course[0].scale or bool(overflows(run)))
    at_floor = fell and course[-1].scale <= FLOOR and not _at_its_level(run, course)
    tiny = bool(course) and (is_tiny(course[-1].scale) or _zero_in_half(run, course))
    return says_minimum(run) is not None or at_floor or tiny or _long_fall(course) or _all_skipped(run)


def _zero_in_half(run: Run, course: list[ScaleStep]) -> bool:
    """Whether the scale is printed as 0.0 all along under fp16: it has fallen below what the log shows."""
    return len(course) > 1 and precision(run).compute is Compute.FP16 and all(step.scale == 0.0 for step in course)


def _all_skipped(run: Run) -> bool:
    """Whether every update of the log was skipped: a count from the start or, as Megatron's, since the last line."""
    skipped = run.series.get("skipped_steps")
    if skipped is None or len(skipped) < MIN_FALLS or math.isnan(skipped.steps[0]):
        return False
    gaps = [late - early for early, late in pairwise(skipped.steps)]
    grown = [late - early for early, late in pairwise(skipped)]
    return min(gaps) > 0 and (grown == gaps or list(skipped)[1:] == gaps)


def _at_its_level(run: Run, course: list[ScaleStep]) -> bool:
    """Whether the scale swings about its level, however low, while training goes on with finite gradients.

    A sum over hundreds of thousands of tokens has large gradients, so its level may be 1 and below.
    """
    norms = run.series.get("grad_norm")
    if norms is None or len(norms) < 2 or shape(norms).nonfinite or says_minimum(run) is not None:
        return False
    scales = [s.scale for s in course]
    span = norms.steps[-1] - norms.steps[0]
    skipped = sum(e.count for e in overflows(run))
    return max(scales) <= SWING * min(scales) and (skipped < SELDOM * span or skipped <= 1 < span)


def _long_fall(course: list[ScaleStep]) -> bool:
    """Whether the course is an unbroken fall of many halvings that is still going on at a small scale."""
    scales = [s.scale for s in course]
    falls = all(later <= earlier for earlier, later in pairwise(scales))
    return falls and len(scales) >= MIN_FALLS and scales[-1] <= LOW_SCALE and scales[-2] > scales[-1]


def _from_the_start(run: Run) -> bool:
    first = next(iter(overflows(run)), None)
    return first is not None and (first.step is None or first.step <= 1)


def _clues(run: Run) -> Iterator[Clue]:
    row = family(run)
    known = 1.5 if row is not None and row.fp16 is Fp16Record.OVERFLOWS else 0.0
    course = scale_course(run)
    past = (bool(course) and is_tiny(course[-1].scale)) or any(named_tiny(e) for e in run.events)
    why = "gradients overflow at every scale down to 1, so the forward pass overflows"
    overflow = (3.0 if past else 4.0) + known
    yield from clues(why, loss_scale_exhausted=5.0, fp16_overflow=overflow, lr_too_high=-0.5, labels_all_masked=-1)
