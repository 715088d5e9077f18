"""LOS011 zero-loss-without-gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import has_plain_loss, quantised_bits
from holter.checks.look import plain
from holter.checks.numerics._suspects import fused_attention, overflow_clues
from holter.checks.shape import point, shape, updates_before
from holter.checks.symptoms import TRAIN_LOSSES, always_zero, nonfinite, number
from holter.checks.verdicts import kept_at
from holter.finding import Clue, Evidence, Finding, Severity
from holter.patterns import regex
from holter.quantity import AFTER, EVAL, IN_TIME, LOSS, quantity
from holter.run import Run, Series
from holter.stages import Stage

ROUNDED = regex(r"0\.00+")
"""A number printed with a fixed number of digits, of which 0.004 is one too."""

MEMORISED = 0.05
"""Nats. A loss that came down to this before it reads 0.0 got there by learning."""

MIN_RATE_POINTS = 2
"""Rates that tell whether the schedule advances."""

_MAIN_WORDS = "lm mlm ce total step steps batch model language task main nll sft seq2seq decoder curve it this"
MAIN = frozenset(_MAIN_WORDS.split()) | IN_TIME
"""Words beside a loss that leave it the one that is minimised, and make it no part of several."""

FULL_FALL = 0.5
"""Nats. A loss that stood above this at the line before and reads exactly 0.0 at the next did not get there by
learning."""


class NothingSupervised(Check):
    """The loss is exactly 0.0 without having been learnt.

    What it looks for: a loss of exactly 0.0 at every line, or from one line to the next from an ordinary level, with no
    NaN anywhere. Beside it a gradient norm of exactly 0.0 says that there is nothing to learn from: every label is
    masked, or nothing is trainable. Without a gradient norm a hidden NaN is possible too.

    Why it hurts: nothing is trained, and the run ends without an error.

    How to fix it: count the labels that are not -100 in one collated batch. If there are some, look at the number of
    trainable parameters and at the gradient norm.

    When to ignore it: for policy losses (GRPO, PPO), which are 0.0 by construction, and for data learnt by heart, where
    the loss falls smoothly to 0.0.

    Threshold: exactly 0.0 after a level above `FULL_FALL`, or throughout; a level below `MEMORISED` counts as learnt.

    Sources: torch ``CrossEntropyLoss`` with ignore_index -100; transformers ``logging_nan_inf_filter``.
    """

    code = "LOS011"
    name = "zero-loss-without-gradient"
    title = "The loss is exactly 0.0 and nothing was learnt"
    severity = Severity.ERROR
    stage = Stage.LOSS
    needs = Needs(any_of=(*((name,) for name in TRAIN_LOSSES), ("variants",), ("facts",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        if not has_plain_loss(run) or nonfinite(run) is not None:
            return
        loss = run.series.get("loss")
        found = _zero_point(loss) if loss is not None else None
        if loss is not None and len(loss) > 1 and all(loss.step(index) == 0 for index in range(len(loss))):
            return  # a progress bar before its first update: 0.0 stands for nothing yet
        if loss is not None and not any(loss) and any(v > 0.0 for v in run.series.get("train_loss", ())):
            return  # the mean of the run is a loss, so that 0.0 stands for what was never logged
        if loss is None or found is None:
            written = always_zero(run, *TRAIN_LOSSES) if loss is None else None
            row = _zero_named(run) or _zero_row(run) if written is None and loss is None else None
            if written is not None or row is not None:
                yield self._found(run, [e for e in (written, row) if e is not None], None, whole=written is not None)
            return
        whole = shape(loss).zeros == len(loss)
        evidence = [point(loss, found)]
        if found > 0:
            evidence.append(point(loss, found - 1, "just before"))
        yield self._found(run, evidence, updates_before(loss, found), whole=whole)

    def _found(self, run: Run, evidence: list[Evidence], step: int | None, *, whole: bool) -> Finding:
        norm = run.series.get("grad_norm")
        still = norm is not None and bool(shape(norm).bins) and shape(norm).high == 0.0
        still = still or (norm is None and always_zero(run, "grad_norm") is not None)
        if norm is not None and still:
            evidence.append(point(norm, 0))
        beside = (
            ", and so is the gradient norm" if still else "" if norm is not None else "; no gradient norm is logged"
        )
        return self.finding(
            f"The loss is exactly 0.0 {'throughout' if whole else 'all at once'}{beside}",
            evidence=evidence,
            step=step,
            clues=[
                *_clues(still, norm is not None, whole),
                *_one_output(run),
                *([] if norm or still else _hidden_clues(run, whole)),
            ],
        )

    bad = [
        case("with a gradient of 0.0", series={"loss": [0.0] * 3, "grad_norm": [0.0] * 3}),
        case("no gradient norm", series={"loss": [0.0, 0.0]}),
        case("all at once", series={"loss": [2.1, 1.9, 0.0, 0.0, 0.0]}),
        case("written down", facts={"train_loss": 0.0}),
        case("in each line", facts={"loss": "0.0 in each log line"}),
        case("by another name", facts={"sft_loss": "always 0"}),
        case("after an update", facts={"loss_after_first_update": 0.0}),
        case("one of two runs", variants=[{"lr": 1, "loss": 2.1}, {"lr": 2, "loss": 0.0}]),
        case("one class", series={"loss": [0.0, 0.0]}, config={"num_labels": 1}),
    ]
    good = [
        case("at one moment", facts={"loss": "0.0 at the first step, then 2.3"}),
        case("a part of the loss", facts={"balance_loss": "0.0 in each log line", "loss": 1.4}),
        case("of a policy", facts={"loss": "always 0.0"}, config={"algorithm.adv_estimator": "grpo"}),
        case("never logged, and the mean of the run is known", series={"loss": [0.0, 0.0], "train_loss": [2.3]}),
        case("a bar before its first update", series={"loss": [0.0] * 3}, steps=[0, 0, 0]),
        case("one line of two digits", files={"log.txt": "Epoch: 107/200; iter: 0/156; Loss: 0.00; time: 38 s;\n"}),
        case("learnt by heart", series={"loss": [0.9, 0.3, 0.04, 0.0, 0.0]}),
        case("a policy loss", series={"loss": [0.0, 0.0], "reward": [0.1, 0.3], "grad_norm": [0.2, 0.3]}),
        case("a hidden NaN is NUM002's", series={"loss": [0.0], "grad_norm": [math.nan]}),
        case("an explosion is NUM007's", series={"loss": [1.3, 34024.0, 0.0, 0.0]}),
        case("learnt in one run", variants=[{"epoch": 1, "loss": 0.02}, {"epoch": 9, "loss": 0.0}]),
        case("of an evaluation", facts={"eval_loss_after_update": 0.0}),
        case("one empty batch", series={"loss": [2.1, 0.0, 2.0, 1.9]}),
    ]
    not_enough = [case("no loss", series={"eval_loss": [0.5]})]


def _zero_named(run: Run) -> Evidence | None:
    """A loss of exactly 0 under a name of its own: the one after the first update, or one that is said to stay so."""
    for name, values in run.facts.items():
        what = quantity(name)
        if what is None or what.kind != LOSS or what.base != "loss" or what.split == EVAL:
            continue
        stays = kept_at(values[0].value) == 0.0 and MAIN.issuperset(what.rest)
        if stays or (what.moment == AFTER and number(values[0].value) == 0.0):
            return Evidence(text=f"{name} is 0", source=values[0].source, value=0.0)
    return None


def _zero_row(run: Run) -> Evidence | None:
    """A loss of exactly 0.0 in one row of a table, and of another size in the others."""
    cells = [row["loss"] for row in run.variants if "loss" in row]
    zero = next((cell for cell in cells if number(cell.value) == 0.0), None)
    if zero is None or len(cells) < 2 or all(number(cell.value) == 0.0 for cell in cells):
        return None
    small = [value for cell in cells if (value := number(cell.value)) is not None and 0.0 < value <= MEMORISED]
    return None if small else Evidence(text="the loss of one run is exactly 0.0", source=zero.source, value=0.0)


def _zero_point(loss: Series) -> int | None:
    """Index of the first 0.0 of a loss that is 0.0 throughout, or falls to it in one leap and stays there."""
    found = shape(loss)
    if not found.zeros or not found.bins or found.high >= 1000.0:
        return None
    if len(loss) == 1 and ROUNDED.fullmatch(loss.raw.get(0, "")):
        return None
    if found.zeros == len(loss):
        return 0
    first = found.first_zero or 0
    rest = loss.values[first:]
    if any(rest) or first == 0:
        return None if any(rest) else 0
    before = min(v for v in loss.values[max(0, first - 3) : first] if math.isfinite(v))
    return first if before > FULL_FALL and before > MEMORISED else None


def _clues(still: bool, known_norm: bool, whole: bool) -> Iterator[Clue]:
    if still:
        why = "loss and gradient are both exactly 0.0: nothing to learn from, and no NaN"
        yield from clues(why, labels_all_masked=4.0, template_mismatch=2.5, no_trainable_params=1.5, fp16_overflow=-4)
        yield from clues(why, checkpointing_no_input_grad=0.5, lr_too_high=-4, lr_zero=-1, loss_coefficient_zero=0.5)
        return
    if known_norm:
        why = "the loss is exactly 0.0 although there is a gradient"
        yield from clues(why, labels_all_masked=2.0, template_mismatch=1.5, fp16_overflow=-1)
        return
    why = "exactly 0.0, with no gradient norm to tell a hidden NaN from empty labels"
    yield from clues(why, labels_all_masked=3.0, template_mismatch=2.0, nan_filter_hides_nan=0.5)
    yield from clues(why, quantized_without_adapter=0.5, no_trainable_params=-1.0, lr_too_high=-3)
    if not whole:
        yield from clues("it was an ordinary loss before", labels_all_masked=-1.5, fp16_overflow=1.0)
        yield from clues("it was an ordinary loss before", low_precision_weights=1.0)


def _one_output(run: Run) -> Iterator[Clue]:
    """The softmax over a single class is 1 for every input, so its cross-entropy is 0."""
    if number(plain(run, "num_labels")) == 1:
        yield from clues("a cross-entropy over one class is always 0", label_dtype_mismatch=6.5, fp16_overflow=-1)


def _hidden_clues(run: Run, whole: bool) -> Iterator[Clue]:
    """Without a gradient norm: how far precision, family and the rate speak for a NaN behind the 0.0."""
    for clue in overflow_clues(run):
        if clue.cause in ("fp16-overflow", "loss-scale-exhausted", "low-precision-weights"):
            yield clue
    bits = quantised_bits(run)
    if bits is not None:
        why = f"the base weights are {bits}-bit, which gives numbers that are not finite on some cards"
        yield from clues(why, quantized_precision_mismatch=4.0 if bits == 8 else 2.5)
    if fused_attention(run) is not None:
        yield from clues("a fused attention kernel is in use, and the 0.0 may hide a NaN", attention_kernel_bug=2.5)
    rate = run.series.get("learning_rate")
    if rate is None or len(rate) < MIN_RATE_POINTS or not shape(rate).bins:
        return
    if shape(rate).high == shape(rate).low:
        why = "the learning rate stands still, as when each step is skipped"
        yield from clues(why, fp16_overflow=2.0, labels_all_masked=-1.0, template_mismatch=-1.0)
    elif whole:
        why = "the learning rate advances, so steps were taken"
        yield from clues(why, fp16_overflow=-1.5, loss_scale_exhausted=-3, labels_all_masked=0.5)
