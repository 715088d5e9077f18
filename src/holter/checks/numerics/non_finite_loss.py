"""NUM001 non-finite-loss."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.configuration._columns import setting_of
from holter.checks.configuration._outcomes import groups_of
from holter.checks.numerics._suspects import course_clues, overflow_clues, usual_clues
from holter.checks.reported import results
from holter.checks.shape import point, shape, updates_before
from holter.checks.symptoms import TRAIN_LOSSES, nonfinite
from holter.comparison import is_kept_to_compare
from holter.finding import Clue, Evidence, Finding, Severity
from holter.quantity import EVAL, IN_TIME, LOSS
from holter.run import Run, Series
from holter.stages import Stage

SAID_OF_PRECISION = frozenset(
    {
        "precision",
        "mixed_precision",
        "torch_dtype",
        "fp16",
        "bf16",
        "quantization",
        "autocast",
        "bnb_4bit_compute_dtype",
    }
)
"""Columns of a table that say in which precision a row ran."""


def _log(count: int, loss: str) -> str:
    return "".join(f"{{'loss': {loss}, 'epoch': {step / 100}}}\n" for step in range(1, count + 1))


class NonFiniteLoss(Check):
    """The training loss is NaN or infinite.

    What it looks for: any NaN or infinity among the logged training losses, the final summary, or the loss somebody
    wrote down; whether it was there from the first value, after healthy values, or only now and then. The logs of
    other processes and attempts in the same folder count too; those named like a baseline do not.

    Why it hurts: one non-finite loss gives non-finite gradients. Without a gradient scaler the next update writes
    NaN into every weight, and nothing that follows can recover.

    How to fix it: find the first module whose output is not finite (the guard names it). Under fp16 train in bf16 or
    fp32; with finite activations look at the batch: labels that are all masked, out of range, or an empty target.

    When to ignore it: never for a whole run. A single NaN that the loss scaler skipped costs one step.

    Threshold: none; one non-finite value is enough. A few of many are said to be intermittent.

    Sources: IEEE 754; transformers ``Trainer._maybe_log_save_evaluate`` and its ``logging_nan_inf_filter``.
    """

    code = "NUM001"
    name = "non-finite-loss"
    title = "The training loss is not finite"
    severity = Severity.ERROR
    stage = Stage.LOSS
    needs = Needs(any_of=(*((name,) for name in TRAIN_LOSSES), ("variants",), ("facts",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        for series in _losses(run):
            found = shape(series)
            if found.first_nonfinite is None:
                continue
            index = found.first_nonfinite
            evidence = [point(series, index, f"the first of {found.nonfinite} among {found.count}")]
            if index > 0:
                evidence.append(point(series, index - 1, "just before"))
            yield self.finding(
                _course(found.nonfinite, found.count, index),
                evidence=evidence,
                step=updates_before(series, index) if series.name == "loss" else None,
                clues=[*overflow_clues(run), *course_clues(run), *usual_clues(run), *_recovery_clues(run, series)],
            )
            return
        written = nonfinite(run, *TRAIN_LOSSES) or _by_another_name(run)
        if written is not None:
            yield self.finding(
                f"The training loss is {_word(written)}",
                evidence=[written],
                clues=[*overflow_clues(run), *course_clues(run), *usual_clues(run), *_spared_clues(run)],
            )

    bad = [
        case("from the first step", series={"loss": [math.nan] * 3}),
        case("after ten healthy steps", series={"loss": [2.0] * 10 + [math.inf]}),
        case("at a moment", facts={"loss_before_step_600": 3.1, "loss_from_step_600": math.nan}),
        case("written down", facts={"loss": math.nan}),
        case("under a name of its own", facts={"cost_within_first_epoch": math.nan}),
        case("one of several", facts={"split_train_loss0": math.nan}),
        case("the next one", facts={"loss_before": "about 5", "loss_next": "nan"}),
        case("in words", facts={"my_objective": "goes to NaN after 40 steps"}),
        case("the summary only", series={"train_loss": [math.nan]}),
        case("in the shorter of two logs", files={"a.log": _log(20, "1.5"), "b.log": _log(3, "nan")}),
        case("in one of two runs", variants=[{"loss": 1.0}, {"loss": "nan"}]),
    ]
    good = [
        case("large but finite", series={"loss": [6.0e7, 12.0, 3.0]}),
        case("in a log kept to compare with", files={"a.log": _log(20, "1.5"), "healthy.log": _log(3, "nan")}),
        case("under a condition", facts={"loss_fp16": math.nan, "loss_fp32": 1.3}),
        case("of another run", facts={"expected_loss": math.nan, "loss": 0.4}),
        case("overcome", facts={"loss": "nan, fixed by bf16"}),
        case("settings", facts={"nan_filter": True, "loss_weight": math.nan, "nan_rows_removed": 12}),
        case("zero is a number", series={"loss": [0.0, 0.0]}),
        case("only the evaluation is NaN", series={"loss": [2.0], "eval_loss": [math.nan]}),
    ]
    not_enough = [case("no loss at all", series={"learning_rate": [1e-4]})]


_HYPOTHETICAL_WORDS = """
expected target reference baseline without other old older previous earlier former upstream theirs fix fixed unfixed if
"""
HYPOTHETICAL = frozenset(_HYPOTHETICAL_WORDS.split())
"""Words of a name that give a loss to another run, or to none."""


def _by_another_name(run: Run) -> Evidence | None:
    """A training loss that somebody noted under a name of his own: ``loss_from_step_600``, ``cost_in_first_epoch``.

    One that is told under a condition, ``loss_fp16``, beside a finite one, is a comparison and not looked at here.
    """
    told = [r for r in results(run) if r.what.kind == LOSS and r.what.split != EVAL]
    finite = any(math.isfinite(result.value) for result in told)
    for result in told:
        rest = set(result.what.rest)
        if math.isfinite(result.value) or not HYPOTHETICAL.isdisjoint(rest):
            continue
        if IN_TIME.issuperset(rest) or not finite:
            return result.evidence
    return None


def _losses(run: Run) -> Iterator[Series]:
    """The training loss and the final one, then those of other files and processes; none of a run kept to compare."""
    for name in ("loss", "train_loss"):
        if name in run.series:
            yield run.series[name]
    for series in run.other_series:
        if series.name in ("loss", "train_loss") and not is_kept_to_compare(series.source.file):
            yield series


def _course(nonfinite_count: int, count: int, index: int) -> str:
    if nonfinite_count == count:
        return f"The training loss is not finite at any of the {count} logged points"
    if index == 0:
        return f"The training loss is not finite from the first logged point on ({nonfinite_count} of {count})"
    if nonfinite_count == count - index:
        return f"The training loss was finite for {index} logged points and never again after"
    return f"The training loss is not finite at {nonfinite_count} of {count} logged points, now and then"


def _recovery_clues(run: Run, loss: Series) -> Iterator[Clue]:
    """A loss that is finite again after a NaN: the weights survived, so the NaN came from the batch."""
    first = shape(loss).first_nonfinite or 0
    after = [v for v in loss.values[first:] if math.isfinite(v) and v != 0.0]
    if not after or not math.isfinite(loss[len(loss) - 1]):
        return
    why = "the loss is finite again after it, so the weights survived and the batch is at fault"
    yield from clues(why, labels_all_masked=3.5, bad_batch=2.0, low_precision_weights=-4, lr_too_high=-3)
    yield from clues(why, grad_clip_disabled=-3, attention_kernel_bug=-1, fully_masked_attention_nan=0.5)
    norms = run.series.get("grad_norm")
    if norms is not None and len(norms) == len(loss) and math.isfinite(norms[first]):
        yield from clues("and the gradient of that step is finite: no counted label", labels_all_masked=1.5)


def _spared_clues(run: Run) -> Iterator[Clue]:
    """Other runs of the table are finite in the same precision, so it is not the precision by itself."""
    groups = groups_of(run.variants)
    precisions = {setting_of(name) for group in groups for name in group.settings} & SAID_OF_PRECISION
    if len(groups) > 1 and not precisions and any(group.judged and not group.failed for group in groups):
        why = "other runs of the table are finite in the same precision"
        yield from clues(why, fp16_overflow=-3, loss_scale_exhausted=-3, low_precision_weights=-2)


def _word(found: Evidence) -> str:
    return "infinite" if isinstance(found.value, float) and math.isinf(found.value) else "NaN"
