"""Ratios, tolerances and named factors from the recorded steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from holter.accounting.factor import Combine, name_factor
from holter.accounting.heads import SHIFTED, unwrapped
from holter.accounting.records import (
    PER_PROCESS,
    PER_TARGET,
    UNSHIFTED,
    Accounting,
    EvalAccount,
    Factor,
    StepAccount,
)

FP32_TOLERANCE = 5e-4  # sums in another order differ by about 1e-6; (L-1)/L is 1e-3 at a thousand tokens
HALF_TOLERANCE = 0.02  # bf16 keeps 8 bits: 2^-8 is 0.4%, and several roundings add up
ROUNDED = 5e-5  # transformers 4.x rounds the logged loss to four digits


def conclude(book: Any, evaluation: EvalAccount | None, *, versions: dict[str, str], restored: bool) -> Accounting:
    """An `Accounting` from the steps that were booked."""
    tolerance, reason = tolerance_of(book.trainer)
    step = book.steps[0]
    terms = terms_of(book, step)
    slack = tolerance + ROUNDED / abs(step.true_loss) if step.true_loss else tolerance
    reported = _ratio(step.reported_loss, step.true_loss)
    loss = name_factor(reported, loss_terms(terms, step), slack, loss_with_auxiliary(step))
    applied = step.reported_grad_norm if math.isnan(step.applied_grad_norm) else step.applied_grad_norm
    grad = name_factor(
        _ratio(applied, step.true_grad_norm), grad_terms(terms, step), tolerance, grad_with_auxiliary(step)
    )
    notes = [*book.notes, *_notes(book, step)]
    return Accounting(
        head=book.head if not book.custom or book.agrees else "custom",
        model_class=type(unwrapped(book.trainer.model)).__name__,
        steps=tuple(book.steps),
        evaluation=evaluation,
        loss_factor=loss,
        grad_factor=grad,
        eval_factor=_eval_factor(evaluation, terms, tolerance),
        tolerance=tolerance,
        tolerance_reason=reason,
        gradient_accumulation_steps=step.micro_batches,
        world_size=book.world_size_seen,
        versions=versions,
        restored=restored,
        notes=tuple(notes),
    )


def tolerance_of(trainer: Any) -> tuple[float, str]:
    """Relative tolerance and its reason, by the precision the forward pass runs in."""
    args = trainer.args
    return tolerance_of_model(trainer.model, "half" if args.fp16 or args.bf16 else "")


def tolerance_of_model(model: Any, autocast: str) -> tuple[float, str]:
    """The same for a model and the dtype it is autocast to, empty for none."""
    import torch

    if autocast or any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters()):
        return HALF_TOLERANCE, "half precision rounds each operation to 8 to 11 bits"
    return FP32_TOLERANCE, "fp32 sums in another order differ by about 1e-6; room is left for long sums"


def terms_of(book: Any, step: StepAccount) -> dict[str, float]:
    """Quantities that loss and gradient alike may have been multiplied with, the likelier first."""
    terms = {
        "gradient_accumulation_steps": float(step.micro_batches),
        "world_size": float(book.world_size_seen),
        "tensor_parallel_size": float(book.tensor_parallel_seen),
    }
    counted = step.counted_items
    if counted and book.head != SHIFTED and book.world_size_seen == 1 and book.head not in ("model", "custom"):
        terms["targets / num_items_in_batch"] = step.targets / counted
    return terms


def loss_terms(terms: Mapping[str, float], step: StepAccount) -> dict[str, float]:
    """With the weightings, as they show in the loss."""
    own = step.true_loss - step.auxiliary_loss
    return {**terms, **{k: _ratio(v - step.auxiliary_loss, own) for k, (v, _) in step.weightings.items()}}


def grad_terms(terms: Mapping[str, float], step: StepAccount) -> dict[str, float]:
    """With the weightings, as they show in the gradient norm."""
    return {**terms, **{k: _ratio(v, step.true_grad_norm) for k, (_, v) in step.weightings.items()}}


def loss_with_auxiliary(step: StepAccount) -> Combine | None:
    """Loss ratio when the cross entropy is multiplied by one number and the auxiliary loss by another."""
    if not step.auxiliary_loss:
        return None
    return lambda main, extra: (
        ((step.true_loss - step.auxiliary_loss) * main + step.auxiliary_loss * extra) / step.true_loss
    )


def grad_with_auxiliary(step: StepAccount) -> Combine | None:
    """The same for the gradient norm: |m g + e a|^2 is a quadratic, known from its values at three points."""
    if not step.auxiliary_norms:
        return None
    zero, one, two = (n * n for n in step.auxiliary_norms)
    square, linear = (two - 2 * one + zero) / 2, (4 * one - two - 3 * zero) / 2
    return lambda main, extra: math.sqrt(
        max(main * main * zero + main * extra * linear + extra * extra * square, 0.0) / one
    )


def _eval_factor(evaluation: EvalAccount | None, terms: Mapping[str, float], tolerance: float) -> Factor | None:
    if evaluation is None:
        return None
    own = {k: v for k, v in terms.items() if k in ("world_size", "tensor_parallel_size")}
    true, auxiliary = evaluation.true_loss, evaluation.auxiliary_loss
    main = true - auxiliary
    for name, value in (
        (PER_PROCESS, evaluation.per_process_loss),
        (PER_TARGET, evaluation.token_loss),
        (UNSHIFTED, evaluation.unshifted_loss),
        (f"{PER_PROCESS}, {UNSHIFTED}", evaluation.per_process_unshifted_loss),
    ):
        own[name] = _ratio(value - auxiliary, main)
    combine: Combine | None = (lambda m, e: (main * m + auxiliary * e) / true) if auxiliary else None
    return name_factor(_ratio(evaluation.reported_loss, true), own, tolerance, combine)


def _ratio(value: float, yardstick: float) -> float:
    return value / yardstick if yardstick else math.nan


def _notes(book: Any, step: StepAccount) -> list[str]:
    notes = []
    if book.custom:
        how = (
            "agrees with the head's own loss" if book.agrees else "is taken as the true loss, asked of one plain batch"
        )
        notes.append(f"the custom loss {how}")
    if book.smoothing:
        notes.append(f"the true loss includes label_smoothing_factor {book.smoothing:g}")
    if step.auxiliary_loss:
        notes.append(f"the true loss includes an auxiliary loss of {step.auxiliary_loss:.4g}")
    if math.isnan(step.applied_grad_norm):
        notes.append("the engine hides gradients; the logged grad_norm stands for the applied one")
    return notes
