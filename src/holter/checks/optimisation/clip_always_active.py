"""OPT006 clip-always-active."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.context import optimiser_is_scale_invariant
from holter.checks.look import call_text, calls, known
from holter.checks.script import argument
from holter.checks.shape import Shape, point, shape
from holter.checks.symptoms import number, numbers
from holter.finding import Clue, Evidence, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MIN_POINTS = 20
"""Log lines; fewer cannot show "always"."""

FAR_ABOVE = 100.0
FEW_POINTS = 4
"""Lines that do where even the smallest norm is a hundred times the limit: norms do not fall that far by chance."""

TINY = 1e-3
"""Norm over all weights. Recipes clip at 0.1 to 10; early in training norms lie at or above these limits."""

TINY_VALUE = 1e-6
"""The same for a single entry of the gradient."""

ALMOST_ALL = 0.9
"""Share of the stretches of the log whose smallest norm is above the limit."""


class ClipAlwaysActive(Check):
    """max_grad_norm cuts almost every update.

    What it looks for: a grad_norm above max_grad_norm at nine of ten points, or a measured share of clipped steps. The
    logged grad_norm is the norm before clipping, so values above the limit do not mean that clipping is broken. And,
    without any log, a limit so small that no gradient is below it.

    Why it hurts: under plain SGD each step is then shortened by the ratio, and the effective rate is not the one set.
    With AdamW, Adafactor and their kin a constant factor cancels, since they divide by the gradient's own size: with
    one model and clip limits from none to 0.01 the measured total change of the weights differed by 2 %.

    How to fix it: nothing under AdamW. Under SGD raise max_grad_norm to about the median of the log.

    When to ignore it: under every optimizer that divides by the gradient's size, which is nearly always.

    Threshold: `ALMOST_ALL` of at least `MIN_POINTS` points; `TINY` and `TINY_VALUE`.

    Sources: torch ``clip_grad_norm_`` returns the norm before clipping; Kingma and Ba 2015, section 2.1.
    """

    code = "OPT006"
    name = "clip-always-active"
    title = "max_grad_norm cuts almost every update"
    severity = Severity.NOTE
    stage = Stage.CLIP
    factor = "max_grad_norm"
    needs = Needs(any_of=(("max_grad_norm",), ("code",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        tiny = _tiny(run)
        if tiny is not None:
            sgd = optimiser_is_scale_invariant(run) is False
            yield self.finding(
                f"gradients are clipped at {tiny.value:g}, far below any: what is left of a step is next to nothing",
                evidence=[tiny],
                severity=Severity.WARNING if sgd else Severity.NOTE,
                clues=clues("the limit is far below any gradient", grad_clip_too_strict=6.0 if sgd else 3.0),
            )
            return
        limit = known(run, "max_grad_norm")
        top = number(limit.plain) if limit is not None else None
        share = _share(run, top) if top else None
        if limit is None or top is None or share is None or share[0] < ALMOST_ALL:
            return
        sgd = optimiser_is_scale_invariant(run) is False
        cut, typical = share[0], f" (typically {share[1]:.3g})" if share[1] else ""
        effect = "each step is shortened by the ratio" if sgd else "a constant factor hardly changes an AdamW step"
        yield self.finding(
            f"grad_norm before clipping{typical} is above max_grad_norm {top:g} at {cut:.0%} of the points: {effect}",
            evidence=[limit.evidence, share[2]],
            severity=Severity.WARNING if sgd else Severity.NOTE,
            clues=list(_clues(sgd)),
        )

    bad = [
        case("AdamW, a note", series={"grad_norm": [30.0] * 40}, config={"max_grad_norm": 1.0, "optim": "adamw_torch"}),
        case(
            "SGD, far above", series={"grad_norm": [3.1, 3.0, 2.9, 3.2]}, config={"max_grad_norm": 1e-3, "optim": "sgd"}
        ),
        case("tiny, with SGD", config={"max_grad_norm": 1e-4, "optim": "sgd"}),
        script("tiny, by value", "loss.backward()\nclip_grad_value_(net.parameters(), 1e-6)\nopt.step()\n"),
        case("SGD", series={"grad_norm": [30.0] * 40}, config={"max_grad_norm": 1.0, "optim": "sgd"}),
        case("measured", facts={"fraction_clipped": 1.0}, config={"max_grad_norm": 1.0}),
    ]
    good = [
        case("strict, without a log", config={"max_grad_norm": 0.01, "optim": "sgd"}),
        case("exactly at the limit", series={"grad_norm": [1.0] * 40}, config={"max_grad_norm": 1.0}),
        case("half of the points", series={"grad_norm": [0.5, 9.0] * 20}, config={"max_grad_norm": 1.0}),
        case("clipping is off", series={"grad_norm": [30.0] * 40}, config={"max_grad_norm": 0.0}),
    ]
    not_enough = [case("limit not known", series={"grad_norm": [30.0] * 40})]


def _tiny(run: Run) -> Evidence | None:
    """A limit that no gradient of a network in training is below, from the settings or a call."""
    limit = known(run, "max_grad_norm")
    top = number(limit.plain) if limit is not None else None
    if limit is not None and top is not None and 0.0 < top <= TINY:
        return Evidence(text=limit.evidence.text, source=limit.evidence.source, value=top)
    for call in calls(run, "clip_grad_value_"):
        value = number(argument(call, 1, "clip_value"))
        if value is not None and 0.0 < value <= TINY_VALUE:
            return Evidence(text=call_text(call), source=call.source, value=value)
    return None


def _share(run: Run, limit: float) -> tuple[float, float, Evidence] | None:
    """Share of points above the limit, the typical norm (0 where not known), and what shows it."""
    for name in ("fraction_clipped", "clip_fraction"):
        fact = known(run, name)
        if fact is not None and (values := numbers(fact.plain)):
            return values[0], 0.0, fact.evidence
    norms = run.series.get("grad_norm")
    if norms is None or not shape(norms).bins:
        return None
    found: Shape = shape(norms)
    if len(norms) < (FEW_POINTS if found.low > FAR_ABOVE * limit else MIN_POINTS):
        return None
    above = sum(1 for b in found.bins if b.low > limit) / len(found.bins)
    return above, median(b.middle for b in found.bins), point(norms, len(norms) - 1)


def _clues(sgd: bool) -> Iterator[Clue]:
    if sgd:
        yield from clues("with SGD a clip that always acts is a smaller rate", grad_clip_too_strict=3.0)
        return
    yield from clues("the update of AdamW does not change with a constant factor", grad_clip_too_strict=-1.0)
    yield from clues("the logged norm is measured before clipping, so the clip does act", grad_clip_disabled=-1.5)
