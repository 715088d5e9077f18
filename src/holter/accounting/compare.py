"""Ratios, tolerances and named factors from the recorded steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from holter.accounting.factor import name_factor
from holter.accounting.heads import SHIFTED, unwrapped
from holter.accounting.records import (
    MEANS_OF_MEANS,
    PER_PROCESS,
    PER_TARGET,
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
    loss = name_factor(_ratio(step.reported_loss, step.true_loss), terms, slack)
    applied = step.reported_grad_norm if math.isnan(step.applied_grad_norm) else step.applied_grad_norm
    grad = name_factor(_ratio(applied, step.true_grad_norm), grad_terms(terms, step), tolerance)
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
    import torch

    args = trainer.args
    half = args.fp16 or args.bf16 or any(p.dtype in (torch.float16, torch.bfloat16) for p in trainer.model.parameters())
    if half:
        return HALF_TOLERANCE, "half precision rounds each operation to 8 to 11 bits"
    return FP32_TOLERANCE, "fp32 sums in another order differ by about 1e-6; room is left for long sums"


def terms_of(book: Any, step: StepAccount) -> dict[str, float]:
    """Quantities that a loss may have been multiplied with, the likelier first."""
    terms = {
        "gradient_accumulation_steps": float(step.micro_batches),
        "world_size": float(book.world_size_seen),
        "tensor_parallel_size": float(book.tensor_parallel_seen),
    }
    if step.counted_items and step.targets:
        name = "(L-1)/L" if book.head == SHIFTED else "targets / num_items_in_batch"
        terms[name] = step.targets / step.counted_items
    terms[MEANS_OF_MEANS] = _ratio(step.mean_of_means_loss, step.true_loss)
    plain = step.true_loss - step.auxiliary_loss
    if step.auxiliary_loss and plain:
        terms["auxiliary loss left out"] = plain / step.true_loss
    terms |= {_repeated(name): _ratio(loss, step.true_loss) for name, (loss, _) in step.auxiliary_times.items()}
    return terms


def grad_terms(terms: Mapping[str, float], step: StepAccount) -> dict[str, float]:
    """The same for the gradient norm, whose mean-of-means ratio is its own."""
    own = dict(terms)
    own[MEANS_OF_MEANS] = _ratio(step.mean_of_means_grad_norm, step.true_grad_norm)
    own.pop("auxiliary loss left out", None)  # a part of a sum scales no norm
    own |= {_repeated(name): _ratio(norm, step.true_grad_norm) for name, (_, norm) in step.auxiliary_times.items()}
    return own


def _repeated(name: str) -> str:
    often = "gradient_accumulation_steps x world_size" if name == "both" else name
    return f"auxiliary loss added {often} times"


def _eval_factor(evaluation: EvalAccount | None, terms: Mapping[str, float], tolerance: float) -> Factor | None:
    if evaluation is None:
        return None
    own = {k: v for k, v in terms.items() if k in ("world_size", "tensor_parallel_size")}
    true, auxiliary = evaluation.true_loss, evaluation.auxiliary_loss
    own["(L-1)/L"] = _ratio(evaluation.unshifted_loss, true)
    own["(L-1)/L, each process by itself"] = _ratio(evaluation.per_process_unshifted_loss, true)
    own[PER_PROCESS] = _ratio(evaluation.per_process_loss, true)
    own[PER_TARGET] = _ratio(evaluation.token_loss, true)
    own[_repeated("world_size")] = _ratio(true + (terms["world_size"] - 1) * auxiliary, true)
    return name_factor(_ratio(evaluation.reported_loss, true), own, tolerance)


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
