"""LOS002 loss-above-any-vocabulary."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import count_of, family, has_plain_loss, uniform_loss
from holter.checks.loss._course import steps_restart
from holter.checks.numerics._suspects import overflow_clues, transcript_clues
from holter.checks.shape import Shape, point, shape, updates_before
from holter.finding import Clue, Finding, Severity
from holter.run import Run, Series
from holter.stages import Stage

LARGEST_VOCABULARY = 262_144
"""Rows of the largest embedding tables in wide use; ln of it is 12.5 nats."""

FRESH_HEAD = 6.5
"""Times the uniform guess at which a freshly initialised untied head may start (T5: 38.8 against 5.95, measured)."""

LINES = 3
"""Log lines; fewer show no course."""

STARTS_HIGH = ("mT5", "T5", "UMT5", "ByT5", "Flan-T5", "LongT5", "T5 (small)")
"""Families whose first losses of 20 to 40 are normal, since the head is not tied or not scaled."""

IMPOSSIBLE = 1000.0
"""Nats. Sums over tokens reach hundreds; beyond, the numbers themselves are broken."""

NOTHING_LEARNT = 0.05
"""Relative fall over the log below which nothing was learnt; the scatter of a mean loss is of that order."""

FEW_LINES = 6
"""Log lines; in fewer the first and last levels are taken over the same lines."""

SUMMED = 3.0
"""Times the uniform guess. Below it an unlucky start may explain a level; a sum over tokens is far higher."""


SUMMED_NORM = 1000.0
MIN_NORMS = 3
"""Norm of the gradient, at each of three lines and more; healthy ones are 0.1 to 100."""

PERPLEXITIES = ("perplexity", "train_perplexity", "eval_perplexity")
BEYOND_ANY = 10.0
"""Times the largest vocabulary; a guess over all of it has a perplexity of its size, a first report may be worse."""

FEWEST = 2
"""Reports of a perplexity; the first one covers the start."""

EARLY_STEPS = 2000
EARLY_EPOCHS = 2.0
"""Where a log begins later, its first line is no start: the loss may be of another kind (detection, pose, speech) and
has long levelled."""


class LossAboveAnyVocabulary(Check):
    """The loss is above the uniform guess over any vocabulary, all along.

    What it looks for: a loss whose lowest level is above ln of the vocabulary (of the largest in use where it is not
    known), or that starts several times above it. Nothing learnt besides makes it a fault, otherwise a note.

    Why it hurts: a mean cross-entropy above the uniform guess is worse than not looking at the input. A level that is
    tens of times higher is a sum, over tokens, micro-batches or processes, and not a mean: then the effective learning
    rate depends on the length of the batch.

    How to fix it: take the mean over counted tokens, and divide by gradient_accumulation_steps once.

    When to ignore it: for losses that are not cross-entropies, and for freshly initialised T5 heads that fall quickly.

    Threshold: `SUMMED` times ln of the vocabulary, `FRESH_HEAD` times for families whose head starts high.

    Sources: cross-entropy of a uniform guess is ln(classes); first losses of T5 as measured on small models.
    """

    code = "LOS002"
    name = "loss-above-any-vocabulary"
    title = "The loss is above the uniform guess all along"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(any_of=(("loss",), *((name,) for name in PERPLEXITIES)))

    def detect(self, run: Run) -> Iterator[Finding]:
        loss = run.series.get("loss")
        if loss is None or len(loss) < LINES:
            yield from self._perplexity(run)
            return
        found = shape(loss)
        if not has_plain_loss(run) or not found.bins or found.nonfinite or found.zeros or steps_restart(loss):
            return
        known = uniform_loss(run)
        uniform = known[0] if known is not None else math.log(LARGEST_VOCABULARY)
        row = family(run)
        times = FRESH_HEAD if row is not None and row.name in STARTS_HIGH else SUMMED
        if known is None and ((loss.step(0) or 0) > EARLY_STEPS or (loss.epoch(0) or 0.0) > EARLY_EPOCHS):
            return
        if found.high >= IMPOSSIBLE:
            yield from self._impossible(run, loss)
            return
        if found.head < min(times, _summed_at_start(run)) * uniform:
            return
        stuck = _learnt_nothing(found) and not _few_that_fall(loss)
        sure = count_of(run, "num_labels") is not None or _gradient_summed(run)
        of = known[1] if known is not None else "ln of the largest vocabulary"
        yield self.finding(
            f"The loss starts at {found.head:.4g}, {found.head / uniform:.2g} times {of} ({uniform:.3g})"
            + (
                f", and is still {found.tail:.4g}: summed, and nothing is learnt" if stuck else ": summed, not averaged"
            ),
            evidence=[point(loss, 0), point(loss, len(loss) - 1)],
            step=updates_before(loss, 0) or 0,
            severity=Severity.WARNING if stuck or sure else Severity.NOTE,
            clues=list(_clues(run, stuck)),
        )

    def _perplexity(self, run: Run) -> Iterator[Finding]:
        """A perplexity that stays far above the size of any vocabulary."""
        for name in PERPLEXITIES:
            series = run.series.get(name)
            if series is None or len(series) < FEWEST or shape(series).nonfinite:
                continue
            last = series[len(series) - 1]
            if min(series) >= BEYOND_ANY * LARGEST_VOCABULARY and last > (1 - NOTHING_LEARNT) * series[0]:
                why = "no model that learns is worse than a guess over any vocabulary, and it does not come down"
                yield self.finding(
                    f"The perplexity is {last:.3g}, far above the size of any vocabulary",
                    evidence=[point(series, 0), point(series, len(series) - 1)],
                    step=updates_before(series, 0),
                    clues=[
                        *clues(why, lr_too_high=4.0, grad_clip_disabled=1.0, warmup_missing=1.5, lr_zero=-3),
                        *clues(why, weights_loaded_wrong=0.5, grad_accum_loss_scale=0.5),
                    ],
                )
                return

    def _impossible(self, run: Run, loss: Series) -> Iterator[Finding]:
        """A loss of thousands and more from the first line on that does not come down; leaps to it are NUM007's."""
        found = shape(loss)
        if found.low < IMPOSSIBLE or not _learnt_nothing(found) or _few_that_fall(loss):
            return
        why = "no mean of anything is this high from the first line on, and it does not come down"
        before = updates_before(loss, 0)
        weights = [*clues(why, attention_kernel_bug=1.0, weights_loaded_wrong=1.0), *overflow_clues(run)]
        if before:
            why = f"no mean of anything is this high, and {before} updates were made before"
            weights = list(clues(why, lr_too_high=4.0, grad_clip_disabled=1.5, warmup_missing=1.0))
        yield self.finding(
            f"The loss is {found.low:.4g} to {found.high:.4g} from the first line on",
            evidence=[point(loss, 0), point(loss, len(loss) - 1)],
            step=before or 0,
            clues=[
                *clues(why, grad_accum_loss_scale=1.0, loss_formula_instability=1.0, quantized_precision_mismatch=0.5),
                *clues(why, lr_too_high=0.5),
                *weights,
                *transcript_clues(run),
            ],
        )

    bad = [
        case("a perplexity", series={"perplexity": [2.7e43, 2.7e43, 2.6e43]}),
        case("thousands, later", series={"loss": [5.1e26, 4.9e26, 4.9e26]}, steps=[1550, 1600, 1650]),
        case("thousands that stay", series={"loss": [4.1e6, 3.9e6, 4.0e6, 4.2e6]}),
        case("a sum that stays", series={"loss": [87.1, 86.9, 86.8, 86.5, 86.0]}),
        case("a sum that falls, a note", series={"loss": [174.0, 140.0, 120.0, 107.0]}),
        case(
            "loss and gradient",
            series={"loss": [186.0, 142.0, 118.0, 93.0], "grad_norm": [6880.0, 4500.0, 8100.0, 1300.0]},
        ),
        case("many classes, falls", series={"loss": [77.4, 75.8, 63.6, 30.0]}, config={"num_labels": 280}),
        case("known classes", series={"loss": [9.0, 8.9, 9.0, 8.9]}, config={"num_labels": 9}),
    ]
    good = [
        case("a squared error that falls", series={"loss": [4.1e6, 2.2e6, 9.0e5, 4.0e5]}),
        case("a short log of squared errors that falls", series={"loss": [18234.0, 16311.0, 12877.0]}),
        case("two points", series={"loss": [87.0, 86.0]}),
        case("a perplexity that falls", series={"perplexity": [4.1e7, 9.0e3, 700.0]}),
        case("from scratch", series={"loss": [10.8, 9.0, 8.0, 7.5]}),
        case("a fresh T5 head", series={"loss": [29.7, 26.3, 20.0]}, config={"model_name_or_path": "google/mt5-small"}),
        case("far into another run", series={"loss": [52.0, 47.1, 47.4, 52.3]}, steps=[90000, 90100, 90200, 90300]),
        case("one high first line", series={"loss": [21.5, 9.0, 3.0, 2.0]}, config={"vocab_size": 32000}),
    ]
    not_enough = [case("no loss", series={"grad_norm": [87.0, 86.0]})]


def _gradient_summed(run: Run) -> bool:
    """Whether every gradient norm is in the thousands, too: a sum makes both larger, a hard task only the loss."""
    norms = run.series.get("grad_norm")
    return norms is not None and len(norms) >= MIN_NORMS and shape(norms).low >= SUMMED_NORM


def _summed_at_start(run: Run) -> float:
    """With accumulation known, a start of that many times the guess is a sum over micro-batches already."""
    accumulation = count_of(run, "gradient_accumulation_steps")
    return max(SUMMED, float(accumulation)) if accumulation is not None and accumulation > 1 else FRESH_HEAD


def _few_that_fall(loss: Series) -> bool:
    """Whether a log too short to have a head and a tail comes down from line to line."""
    values = list(loss)
    falls = all(later < earlier for earlier, later in pairwise(values))
    return len(values) < FEW_LINES and falls and values[0] - values[-1] >= NOTHING_LEARNT * values[0]


def _learnt_nothing(found: Shape) -> bool:
    return found.head - found.tail < NOTHING_LEARNT * found.head


def _clues(run: Run, stuck: bool) -> Iterator[Clue]:
    accumulation = count_of(run, "gradient_accumulation_steps")
    bits = 1.0 if accumulation == 1 else 3.5
    yield from clues("no mean cross-entropy is this high; a sum is", grad_accum_loss_scale=bits, lr_too_high=0.5)
    yield from clues("no mean cross-entropy is this high; a sum is", labels_not_masked=0.5, weights_loaded_wrong=1.0)
    if stuck:
        yield from clues("and it does not move", lr_too_low=1.0, no_trainable_params=0.5)
