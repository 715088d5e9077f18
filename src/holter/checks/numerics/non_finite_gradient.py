"""NUM003 non-finite-gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import Compute, family, precision
from holter.checks.noted import approximate, noted
from holter.checks.numerics._suspects import overflow_clues, usual_clues
from holter.checks.shape import point, shape, updates_before
from holter.checks.symptoms import TRAIN_LOSSES, exactly_zero, nonfinite
from holter.finding import Clue, Finding, Severity
from holter.knowledge.families import Fp16Record
from holter.patterns import regex
from holter.run import Run, Series
from holter.stages import Stage

RARE_SHARE = 0.05
"""A loss scaler that doubles every 2000 good steps overflows about once in 2000; one step in twenty is no search."""

SETTLING_POINTS = 30
"""From 2**32 (DeepSpeed's initial_scale_power) to 2**2 a scaler halves 30 times before it finds its level."""

OF_NORM = regex(r"^(?:total |global )?grad(?:ient)? norms?\b")


class NonFiniteGradient(Check):
    """The gradient norm is NaN or infinite while the loss is finite.

    What it looks for: non-finite values of grad_norm at points where the loss is an ordinary number. A few at the
    start, also where the log ends there, or now and then under fp16, are the loss scaler finding its level: a note.

    Why it hurts: the loss is finite, so the forward pass is right and the backward pass overflows or divides by zero.
    Without a scaler that skips the step the next update destroys the weights.

    How to fix it: with fp16 go to bf16 or lower the initial loss scale; without fp16 look for a square root, a
    division or a logarithm at zero, and for a layer whose activations are huge.

    When to ignore it: at the start of fp16 training, and when rare and always followed by finite values.

    Threshold: more than one point in twenty, or more than 30 at the start, is no longer a scaler at work; see
    ``RARE_SHARE`` and ``SETTLING_POINTS``.

    Sources: torch.amp.GradScaler (growth every 2000 steps, backoff 0.5); DeepSpeed fp16 ``initial_scale_power`` 16-32.
    """

    code = "NUM003"
    name = "non-finite-gradient"
    title = "The gradient is not finite while the loss is"
    severity = Severity.ERROR
    stage = Stage.BACKWARD
    needs = Needs(any_of=(("grad_norm",), ("variants",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        norms, loss = run.series.get("grad_norm"), run.series.get("loss")
        if norms is None:
            yield from self._in_table(run)
            return
        found = shape(norms)
        if found.first_nonfinite is None or (loss is not None and _loss_is_broken(loss)):
            return
        index = found.first_nonfinite
        evidence = [point(norms, index, f"the first of {found.nonfinite} among {found.count}")]
        if _scaler_at_work(norms, found.nonfinite):
            yield self.finding(
                f"grad_norm is not finite at {found.nonfinite} of {found.count} points, and finite again after",
                evidence=evidence,
                step=updates_before(norms, index),
                severity=_severity_of_rare(run),
                clues=_rare_clues(run),
            )
            return
        if _first_steps_alone(run, norms, found.nonfinite):
            yield self.finding(
                f"grad_norm is not finite at the first {found.nonfinite} of the updates, and no later one is shown: a "
                "loss scaler begins like this",
                evidence=evidence,
                step=updates_before(norms, index),
                severity=Severity.NOTE,
                clues=list(overflow_clues(run)),
            )
            return
        if _scale_holds(run):
            scale = run.series["loss_scale"]
            yield self.finding(
                f"grad_norm is not finite at {found.nonfinite} of {found.count} points, while the loss scale holds its "
                "level: a mean over steps of which the scaler skips some",
                evidence=[*evidence, point(scale, len(scale) - 1)],
                step=updates_before(norms, index),
                severity=Severity.NOTE,
                clues=_rare_clues(run),
            )
            return
        yield self.finding(
            f"grad_norm is not finite at {found.nonfinite} of {found.count} logged points although the loss is finite",
            evidence=evidence,
            step=updates_before(norms, index),
            clues=[
                *overflow_clues(run),
                *usual_clues(run),
                *clues("the backward pass breaks, not the forward", labels_all_masked=-1, loss_formula_instability=2.0),
                *clues("the filter of the log may stand in for a NaN loss", nan_filter_hides_nan=1.5),
            ],
        )

    def _in_table(self, run: Run) -> Iterator[Finding]:
        """A gradient that is not finite in one of several runs, of which no loss is broken."""
        shown = nonfinite(run, "grad_norm")
        if shown is None or nonfinite(run, *TRAIN_LOSSES) is not None or exactly_zero(run, *TRAIN_LOSSES) is not None:
            return
        why = "the backward pass breaks, not the forward"
        yield self.finding(
            "grad_norm is not finite in a run of the table",
            evidence=[shown],
            clues=[*overflow_clues(run), *usual_clues(run), *clues(why, loss_formula_instability=1.5)],
        )

    bad = [
        case("in a table", variants=[{"lr": 1e-4, "grad_norm": math.nan}, {"lr": 1e-5, "grad_norm": 1.0}]),
        case("at the start, a note", series={"grad_norm": [math.inf, math.nan] + [1.0] * 20}),
        case(
            "nothing but the first update, fp16: a note",
            series={"grad_norm": [math.nan], "loss": [7.1]},
            steps=[1],
            config={"fp16": True},
        ),
        case(
            "the first update, and finite ones that were seen later: a note",
            series={"grad_norm": [math.nan]},
            steps=[1],
            facts={"grad_norm_iteration_9": 7217.0},
        ),
        case("always", series={"grad_norm": [math.nan] * 5, "loss": [2.0] * 5}),
        case("from the middle on", series={"grad_norm": [1.0] * 5 + [math.inf] * 5}),
        case(
            "one of a hundred, bf16",
            series={"grad_norm": [1.0] * 50 + [math.nan] + [1.0] * 49},
            config={"bf16": True},
        ),
        case(
            "means over epochs in which a scaler finds its level: a note",
            series={"grad_norm": [math.inf] * 3, "loss_scale": [263192.6, 299499.5, 267780.1]},
        ),
    ]
    good = [
        case("huge but finite", series={"grad_norm": [6e4, 9e3, 1e4]}),
        case("the loss breaks too", series={"grad_norm": [math.nan], "loss": [math.nan]}),
        case("hidden by the filter", series={"grad_norm": [math.nan], "loss": [0.0]}),
    ]
    not_enough = [case("no gradient norm", series={"loss": [2.0]})]


def _loss_is_broken(loss: Series) -> bool:
    """Whether the loss itself is not finite or hides a NaN behind 0.0; NUM001 and NUM002 say so then."""
    return bool(shape(loss).nonfinite or shape(loss).zeros)


def _scaler_at_work(norms: Series, bad: int) -> bool:
    """Rare, or all at the start, and finite at the end."""
    if not math.isfinite(norms[len(norms) - 1]):
        return False
    leading = next(i for i, v in enumerate(norms) if math.isfinite(v))
    later = bad - leading
    return leading <= SETTLING_POINTS and later <= max(1, RARE_SHARE * (len(norms) - leading))


def _first_steps_alone(run: Run, norms: Series, bad: int) -> bool:
    """Whether nothing but the first updates is shown, under a scaler or with finite norms that somebody saw later."""
    used, row = precision(run), family(run)
    if row is not None and row.fp16 is Fp16Record.OVERFLOWS:
        return False
    if bad < len(norms) or used.compute in (Compute.BF16, Compute.FP32) or used.half_weights:
        return False
    last, rate = norms.step(len(norms) - 1), run.series.get("learning_rate")
    still = last is None and rate is not None and len(rate) == len(norms) and not any(rate)
    if not still and (last is None or last > SETTLING_POINTS):
        return False
    later = (fact for fact in noted(run) if OF_NORM.match(fact.words))
    return used.compute is Compute.FP16 or "loss_scale" in run.series or any(_is_finite(f.value) for f in later)


def _is_finite(value: object) -> bool:
    amount = approximate(value)
    return amount is not None and math.isfinite(amount)


def _scale_holds(run: Run) -> bool:
    """A scale that moves and has not fallen: what overflows at every step is halved at every step."""
    scale = run.series.get("loss_scale")
    return scale is not None and len(scale.finite) > 1 and min(scale.finite) < scale.finite[-1] >= scale.finite[0] > 1


def _severity_of_rare(run: Run) -> Severity:
    """Finite values after it show that the step was skipped, as a scaler does; bf16 and fp32 have none."""
    return Severity.WARNING if precision(run).compute in (Compute.BF16, Compute.FP32) else Severity.NOTE


def _rare_clues(run: Run) -> list[Clue]:
    if precision(run).compute not in (Compute.BF16, Compute.FP32):
        return list(clues("overflows are rare and followed by finite steps", fp16_overflow=-1, loss_scale_exhausted=-3))
    return list(clues("single batches give a gradient that is not finite", bad_batch=2, labels_all_masked=1))
