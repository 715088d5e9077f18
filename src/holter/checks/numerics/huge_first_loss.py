"""NUM010 forward-pass-wrong-before-any-update."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import Compute, has_plain_loss, precision, uniform_loss
from holter.checks.shape import point, shape
from holter.finding import Clue, Finding, Severity
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


class ForwardWrongBeforeUpdate(Check):
    """The loss is impossible while the learning rate is still zero.

    What it looks for: losses far above the uniform guess at points where the learning rate is exactly 0.0, so that no
    update has been made yet.

    Why it hurts: no update, so no optimizer, rate, warmup or clipping can be at fault. The forward pass itself gives
    wrong numbers: quantised products on a card that does not support them, a broken kernel, or weights loaded wrong.

    How to fix it: run one batch in fp32 on the unquantised model and compare the loss. Then change one thing at a time:
    quantisation, card, attention kernel.

    When to ignore it: never for a mean cross-entropy.

    Threshold: `TIMES_UNIFORM` times ln of the vocabulary, or of the largest in use where it is not known.

    Sources: cross-entropy of a uniform guess is ln(classes); transformers issue 10362 for a rate of 0 while the scaler
    settles.
    """

    code = "NUM010"
    name = "forward-pass-wrong-before-any-update"
    title = "The loss is impossible before any update was made"
    severity = Severity.ERROR
    stage = Stage.FORWARD
    needs = Needs(series={"loss": 2, "learning_rate": 2})

    def detect(self, run: Run) -> Iterator[Finding]:
        loss, rate = run.series["loss"], run.series["learning_rate"]
        still = _points_before_updates(loss, rate)
        known = uniform_loss(run)
        limit = TIMES_UNIFORM * (known[0] if known else math.log(LARGEST_VOCABULARY))
        high = [i for i in still if loss[i] > limit]
        if not has_plain_loss(run) or len(high) < 2 or len(high) * 2 < len(still):
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

    bad = [
        case("hundreds at rate zero", series={"loss": [537.0, 915.0, 1891.0], "learning_rate": [0.0, 0.0, 0.0]}),
        case(
            "known vocabulary", series={"loss": [100.0, 104.0], "learning_rate": [0.0, 0.0]}, config={"vocab_size": 384}
        ),
    ]
    good = [
        case("skipped steps, ordinary loss", series={"loss": [2.7, 2.9], "learning_rate": [0.0, 0.0]}),
        case("a fresh untied head", series={"loss": [38.8, 38.0], "learning_rate": [0.0, 0.0]}),
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
