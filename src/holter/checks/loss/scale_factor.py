"""LOS001 loss-scaled-by-accumulation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import count_of, has_plain_loss, head, uniform_loss
from holter.checks.look import is_on, known, plain, written
from holter.checks.shape import point, updates_before
from holter.checks.symptoms import number
from holter.finding import Change, Clue, Evidence, Finding, Fix, Severity
from holter.knowledge.loss_kwargs import LossFactor, loss_factor
from holter.run import Run
from holter.stages import Stage

WIDE_LOGITS = 4.0
"""Times the uniform guess that wide logits of an untrained head explain: a standard deviation s of the logits adds
s^2/2, which for 280 classes is 2.8 times ln(280) at s = 4.7. Beyond four times something multiplies the loss."""

LEAST = 0.3
"""Times the uniform guess below which an untrained head does not start; a divided loss below it was not multiplied."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """First loss against the uniform guess.

    Attributes:
        loss: first logged value, nats.
        uniform: ln of classes or tokens.
        of: what it is the logarithm of.
        factor: by which the loss is thought to be multiplied.
    """

    loss: float
    uniform: float
    of: str
    factor: float

    @property
    def unexplained(self) -> bool:
        """Whether the loss is above what wide logits of an untrained head give."""
        return self.loss > WIDE_LOGITS * self.uniform

    @property
    def plausible_when_divided(self) -> bool:
        """Whether loss / factor is an ordinary first loss."""
        return LEAST * self.uniform <= self.loss / self.factor <= WIDE_LOGITS * self.uniform


class LossScaledByAccumulation(Check):
    """The Trainer multiplies the loss of this head by accumulation steps and processes.

    What it looks for: transformers version, class of the head, gradient_accumulation_steps and number of processes for
    which the library is known to skip the division; and, where the first loss is logged, whether loss / factor is an
    ordinary first loss against ln(classes) or ln(vocabulary).

    Why it hurts: loss and gradient are too large by the factor. AdamW's steps hardly change, but every comparison,
    every clip limit and every SGD step does, and eval_loss (off by the processes at most) no longer fits train loss.

    How to fix it: set ``trainer.model_accepts_loss_kwargs = False`` after building the Trainer.

    When to ignore it: when the loss is computed by a function of your own that divides by num_items_in_batch.

    Threshold: `WIDE_LOGITS` and `LEAST` times the uniform guess.

    Sources: `holter.knowledge.loss_kwargs`; the expected loss of logits with spread s is about ln(C) + s^2/2.
    """

    code = "LOS001"
    name = "loss-scaled-by-accumulation"
    title = "Loss and gradient are multiplied by accumulation steps and processes"
    severity = Severity.ERROR
    stage = Stage.LOSS
    factor = "model_accepts_loss_kwargs"
    needs = Needs(
        any_of=(
            ("gradient_accumulation_steps", "versions.transformers"),
            ("world_size", "versions.transformers"),
            ("gradient_accumulation_steps", "loss"),
        )
    )

    def detect(self, run: Run) -> Iterator[Finding]:
        if run.fact("accounting.loss_ratio") is not None:
            return  # it was measured, and LOS101 judges the measurement
        accumulation, world = count_of(run, "gradient_accumulation_steps") or 1, count_of(run, "world_size") or 1
        if not has_plain_loss(run) or accumulation * world == 1 or _switched_off(run):
            return
        factor = _known_factor(run, accumulation, world)
        if factor is not None and factor.loss <= 1.0 and factor.gradient <= 1.0:
            return
        level = _level(run, factor.loss if factor is not None else float(accumulation * world))
        if factor is None:
            if level is not None and level.unexplained and level.plausible_when_divided:
                yield self._found(run, None, level, accumulation, world)
            return
        if factor.loss > 1.0 and level is not None and level.loss / factor.loss < LEAST * level.uniform:
            return  # the loss is too small to have been multiplied
        yield self._found(run, factor, level, accumulation, world)

    def _found(
        self, run: Run, factor: LossFactor | None, level: Level | None, accumulation: int, world: int
    ) -> Finding:
        times = factor.loss if factor is not None else float(accumulation * world)
        what = "The gradient" if times <= 1.0 else "Loss and gradient"
        size = factor.gradient if factor is not None and times <= 1.0 else times
        message = f"{what} are {size:g} times too large" if times > 1.0 else f"{what} is {size:g} times too large"
        if level is not None:
            message += f": the first loss {level.loss:.4g} / {times:g} = {level.loss / times:.4g}, against {level.of}"
            message += f" = {level.uniform:.3g}"
        loss = run.series.get("loss")
        seen = level is not None and level.unexplained
        return self.finding(
            message,
            evidence=list(_evidence(run, factor)),
            step=updates_before(loss, 0) if loss is not None and len(loss) else 0,
            severity=Severity.ERROR if seen else Severity.WARNING,
            clues=list(_clues(factor, level)),
            fix=_fix(),
        )

    bad = [
        case("four processes, two micro-batches",
             config={"versions.transformers": "4.57.1", "architectures": ["Qwen3ForSequenceClassification"],
                     "num_labels": 280, "gradient_accumulation_steps": 2, "world_size": 4},
             series={"loss": [69.5, 60.1]}),
        case("no loss logged yet",
             config={"versions.transformers": "5.2.0", "architectures": ["T5ForConditionalGeneration"],
                     "gradient_accumulation_steps": 8}),
        case("version not known, but the level gives it away",
             config={"num_labels": 10, "gradient_accumulation_steps": 8}, series={"loss": [19.5, 19.0]}),
    ]  # fmt: skip
    good = [
        case("a causal language model",
             config={"versions.transformers": "4.57.1", "architectures": ["Qwen3ForCausalLM"],
                     "gradient_accumulation_steps": 8}, series={"loss": [2.1]}),
        case("before the fault came in",
             config={"versions.transformers": "4.44.0", "architectures": ["Qwen2ForSequenceClassification"],
                     "gradient_accumulation_steps": 8}, series={"loss": [2.1]}),
        case("wide logits explain it", config={"num_labels": 280, "gradient_accumulation_steps": 8},
             series={"loss": [14.0, 9.0]}),
        case("switched off",
             config={"versions.transformers": "4.57.1", "architectures": ["Qwen3ForSequenceClassification"],
                     "gradient_accumulation_steps": 8, "model_accepts_loss_kwargs": False}),
    ]  # fmt: skip
    not_enough = [case("no accumulation given", config={"num_labels": 280}, series={"loss": [69.5]})]


def _switched_off(run: Run) -> bool:
    switch = known(run, "model_accepts_loss_kwargs")
    return switch is not None and not is_on(switch.plain)


def _known_factor(run: Run, accumulation: int, world: int) -> LossFactor | None:
    version = plain(run, "versions.transformers")
    averaging = known(run, "average_tokens_across_devices")
    return loss_factor(
        written(version or ""),
        head(run),
        accumulation,
        world,
        average_tokens_across_devices=is_on(averaging.plain) if averaging is not None else None,
        label_smoothing=(number(plain(run, "label_smoothing_factor")) or 0.0) > 0,
    )


def _level(run: Run, factor: float) -> Level | None:
    """The first logged or written loss against the uniform guess, where both are known."""
    uniform, loss = uniform_loss(run), run.series.get("loss")
    value = loss[0] if loss is not None and len(loss) else number(plain(run, "loss"))
    if uniform is None or value is None or not math.isfinite(value) or value <= 0.0:
        return None
    return Level(loss=value, uniform=uniform[0], of=uniform[1], factor=factor)


def _evidence(run: Run, factor: LossFactor | None) -> Iterator[Evidence]:
    loss = run.series.get("loss")
    if loss is not None and len(loss):
        yield point(loss, 0)
    if factor is not None:
        yield Evidence(text=factor.reason)
    for name in ("gradient_accumulation_steps", "world_size", "versions.transformers"):
        if (found := known(run, name)) is not None:
            yield found.evidence


def _clues(factor: LossFactor | None, level: Level | None) -> Iterator[Clue]:
    if factor is not None:
        yield from clues("version, head and counts are ones that skip the division", grad_accum_loss_scale=4.0)
    if level is None:
        return
    if level.unexplained and level.plausible_when_divided:
        why = f"the first loss fits once it is divided by {level.factor:g}"
        yield from clues(why, grad_accum_loss_scale=4.0 if factor is not None else 3.0, head_initialisation=-1.0)
    elif level.unexplained:
        yield from clues("the factor alone does not explain the level", grad_accum_loss_scale=1.0)


def _fix() -> Fix:
    change = Change(key="model_accepts_loss_kwargs", new=False)
    return Fix(summary="set trainer.model_accepts_loss_kwargs = False after building the Trainer", changes=(change,))
