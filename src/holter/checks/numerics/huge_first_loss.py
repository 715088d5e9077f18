"""NUM010 forward-pass-wrong-before-any-update."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import Compute, has_plain_loss, precision, uniform_loss
from holter.checks.look import known, written
from holter.checks.shape import point, shape
from holter.finding import Clue, Evidence, Finding, Severity
from holter.patterns import regex
from holter.run import Run, Series
from holter.stages import Stage

LARGEST_VOCABULARY = 262_144
"""Rows of the largest embedding tables in wide use (Gemma); ln of it is 12.5 nats."""

TIMES_UNIFORM = 8.0
"""A freshly initialised head with wide logits starts up to three times above the uniform guess, T5's untied head up to
6.5 times (38.8 against 5.95, measured); eight times is beyond what initialisation explains."""

NOISY = 0.3
"""Spread of neighbouring values against the level. A loss that is merely scaled by a factor stays as smooth as before;
one computed from broken numbers leaps about by more than a third."""

IMPOSSIBLE = 1000.0
"""Nats for each sample. Detectors begin at 1 to 50, and a cross-entropy of this size needs logits as wide."""

TINY_RATE = 1e-5
"""The first rate of a warmup; a step of it moves a weight by no more than that with Adam."""

CLASSES = regex(r"(?:^|[_/.])(?:cls|ce|classification|xent|cross_entropy|obj|objectness|mask)(?:$|[_/.])")
OF_CLASSES = regex(r"classif|detect|segment|\bsft\b|language|translat|fine-?tun|caption|\bcoco\b|imagenet")
"""Parts of a loss, and tasks, that are cross-entropies of classes or tokens."""


class ForwardWrongBeforeUpdate(Check):
    """The loss is impossible while the learning rate is still zero.

    What it looks for: losses far above the uniform guess at points where the learning rate is exactly 0.0, so that no
    update has been made yet; or a loss over classes of thousands at the first step that grows under a tiny rate.

    Why it hurts: no update, so no optimizer, rate, warmup or clipping can be at fault. The forward pass itself gives
    wrong numbers: quantised products on a card that does not support them, a broken kernel, or weights loaded wrong.

    How to fix it: run one batch in fp32 on the unquantised model and compare the loss. Then change one thing at a time:
    quantisation, card, attention kernel.

    When to ignore it: never for a mean cross-entropy.

    Threshold: `TIMES_UNIFORM` times ln of the vocabulary, or of the largest in use where it is not known;
    `IMPOSSIBLE` and `TINY_RATE` for the second form.

    Sources: cross-entropy of a uniform guess is ln(classes); transformers issue 10362 for a rate of 0 while the scaler
    settles.
    """

    code = "NUM010"
    name = "forward-pass-wrong-before-any-update"
    title = "The loss is impossible before any update was made"
    severity = Severity.ERROR
    stage = Stage.FORWARD
    needs = Needs(series={"loss": 2, "learning_rate": 1})

    def detect(self, run: Run) -> Iterator[Finding]:
        loss, rate = run.series["loss"], run.series["learning_rate"]
        still = _points_before_updates(loss, rate)
        known = uniform_loss(run)
        limit = TIMES_UNIFORM * (known[0] if known else math.log(LARGEST_VOCABULARY))
        high = [i for i in still if loss[i] > limit]
        if not has_plain_loss(run):
            return
        if len(high) < 2 or len(high) * 2 < len(still):
            yield from self._under_a_tiny_rate(run, loss, rate)
            return
        values = [loss[i] for i in high]
        noisy = shape(loss).noise > NOISY * sorted(values)[len(values) // 2]
        span = f"{min(values):.4g} to {max(values):.4g}"
        yield self.finding(
            f"The loss is {span} while the learning rate is 0.0: the forward pass is wrong",
            evidence=[point(loss, high[0]), point(rate, high[0])],
            step=0,
            clues=list(_clues(run, noisy)),
        )

    def _under_a_tiny_rate(self, run: Run, loss: Series, rate: Series) -> Iterator[Finding]:
        """A loss of thousands at the very first step that grows, with a rate that cannot move anything."""
        first, begins = shape(loss), (loss.step(0) if len(loss) else None)
        if begins is None or begins > 1 or first.nonfinite or first.low < loss[0] or loss[0] < IMPOSSIBLE:
            return
        if not 0.0 < rate[0] <= TINY_RATE or not (parts := _of_classes(run)):
            return
        why = f"no update, or one at {rate[0]:g}, had been made: the weights or the scale of the loss are wrong"
        yield self.finding(
            f"The loss is {loss[0]:.4g} at the first step, at a rate of {rate[0]:g}, and only grows",
            evidence=[point(loss, 0), point(rate, 0), point(loss, len(loss) - 1), *parts],
            step=0,
            clues=[
                *clues(why, weights_loaded_wrong=4.0, grad_accum_loss_scale=2.0, head_initialisation=2.0),
                *clues(why, loss_formula_instability=1.5, lr_too_high=-3, warmup_missing=-4, grad_clip_disabled=-3),
                *clues(why, quantized_precision_mismatch=0.5),
            ],
        )

    bad = [
        case(
            "a detector's first steps",
            series={"loss": [21944.0, 319373.0], "loss_cls": [16096.0, 313228.0], "learning_rate": [1e-6, 1e-6]},
            steps=[0, 1],
        ),
        case("hundreds at rate zero", series={"loss": [537.0, 915.0, 1891.0], "learning_rate": [0.0, 0.0, 0.0]}),
        case(
            "known vocabulary", series={"loss": [100.0, 104.0], "learning_rate": [0.0, 0.0]}, config={"vocab_size": 384}
        ),
    ]
    good = [
        case("skipped steps, ordinary loss", series={"loss": [2.7, 2.9], "learning_rate": [0.0, 0.0]}),
        case("a fresh untied head", series={"loss": [38.8, 38.0], "learning_rate": [0.0, 0.0]}),
        case(
            "a detector's ordinary first loss",
            series={"loss": [21.9, 25.7], "loss_cls": [16.1, 18.4], "learning_rate": [1e-6, 1e-6]},
            steps=[0, 1],
        ),
        case(
            "squared errors",
            series={"loss": [21944.0, 22373.0], "learning_rate": [1e-6, 1e-6]},
            steps=[0, 1],
        ),
        case(
            "far above, and soon down",
            series={"loss": [2212.0, 12.0], "loss_cls": [2210.0, 10.0], "learning_rate": [1e-6, 1e-6]},
            steps=[0, 50],
        ),
        case("the rate is on", series={"loss": [537.0, 915.0], "learning_rate": [1e-4, 1e-4]}),
    ]
    not_enough = [case("no rate", series={"loss": [537.0, 915.0]})]


def _points_before_updates(loss: Series, rate: Series) -> list[int]:
    """Indices of the leading points at which the rate is exactly 0.0."""
    found = []
    for index in range(min(len(loss), len(rate))):
        if rate[index] != 0.0:
            break
        found.append(index)
    return found


def _of_classes(run: Run) -> list[Evidence]:
    """What shows that the loss is over classes or tokens, and no sum of squares."""
    named = [series for name, series in run.series.items() if CLASSES.search(name.lower()) and len(series)]
    if named:
        return [point(s, 0) for s in named if s[0] >= IMPOSSIBLE][:2]
    task = known(run, "task")
    return [task.evidence] if task is not None and OF_CLASSES.search(written(task.plain).lower()) else []


def _clues(run: Run, noisy: bool) -> Iterator[Clue]:
    used = precision(run)
    why = "no update had been made, so nothing that acts through updates can be the cause"
    yield from clues(why, lr_too_high=-6, warmup_missing=-6, grad_clip_disabled=-6, overfitting=-6)
    if noisy:
        why = "the values leap about, as broken products do; a wrong factor would keep them smooth"
        yield from clues(why, quantized_precision_mismatch=3.0, attention_kernel_bug=1.5, grad_accum_loss_scale=-3)
        yield from clues(why, weights_loaded_wrong=1.0, framework_bug=0.5)
    else:
        yield from clues("smooth but far too high", grad_accum_loss_scale=2.0, weights_loaded_wrong=1.5)
    if used.quantised is not None:
        yield from clues(f"the base weights are {used.quantised}-bit", quantized_precision_mismatch=3.0)
    if used.compute is Compute.FP16:
        yield from clues("products are computed in fp16", fp16_overflow=1.0, quantized_precision_mismatch=0.5)
