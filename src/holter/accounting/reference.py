"""The same samples in one plain batch: loss from logits and labels in fp32, and the gradient of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holter.accounting.heads import BatchLoss, batch_loss, count_targets

if TYPE_CHECKING:
    from torch import Tensor, nn

ReduceSum = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Recomputed over one optimizer step of all processes.

    Attributes:
        loss: mean over counted targets, with the auxiliary term.
        grad_norm: of its gradient.
        auxiliary: the auxiliary term alone.
        targets: counted targets.
        mean_of_means: every micro-batch weighted alike.
        mean_of_means_grad_norm: of the gradient of that.
        auxiliary_times: how often the auxiliary term was added by mistake -> loss and gradient norm it would give.
    """

    loss: float
    grad_norm: float
    auxiliary: float
    targets: int
    mean_of_means: float
    mean_of_means_grad_norm: float
    auxiliary_times: dict[str, tuple[float, float]] = field(default_factory=dict)


def joined(batches: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One plain batch where the shapes allow it, otherwise the batches as they are."""
    import torch

    first = batches[0]
    for batch in batches:
        if set(batch) != set(first):
            return list(batches)
        for name, value in batch.items():
            if not torch.is_tensor(value) or value.dim() == 0 or value.shape[1:] != first[name].shape[1:]:
                return list(batches)
    return [{name: torch.cat([batch[name] for batch in batches]) for name in first}]


def head_sums(model: nn.Module, head: str, config: Any, smoothing: float) -> Callable[[Mapping[str, Any]], BatchLoss]:
    """A function that runs ``model`` on a batch and gives the summed loss of it by the definition of ``head``."""

    def run(batch: Mapping[str, Any]) -> BatchLoss:
        outputs = model(**batch)
        if _has_no_logits(outputs):
            outputs = model(**{k: v for k, v in batch.items() if k != "labels"})
        return batch_loss(head, outputs, batch, config, smoothing=smoothing)

    return run


def function_sums(function: Callable[[Mapping[str, Any]], Tensor], head: str) -> Callable[..., BatchLoss]:
    """The same from a function that gives a mean loss; the mean is taken over what ``head`` counts."""

    def run(batch: Mapping[str, Any]) -> BatchLoss:
        count = count_targets(head, batch)
        return BatchLoss(total=function(batch).float() * count, count=count)

    return run


def compute(
    model: nn.Module,
    batches: Sequence[Mapping[str, Any]],
    sums: Callable[[Mapping[str, Any]], BatchLoss],
    counts: Sequence[int],
    *,
    reduce_sum: ReduceSum,
    world_size: int,
    with_gradient: bool = True,
    keep_apart: bool = False,
) -> Reference:
    """Loss and gradient norm of one optimizer step.

    Args:
        model: below DDP; its ``.grad`` are set aside and put back.
        batches: this process's micro-batches, on the model's device.
        sums: see `head_sums`.
        counts: counted targets of each micro-batch of this process.
        reduce_sum: sums a tensor over processes.
        world_size: number of processes.
        with_gradient: False where the engine hides gradients; norms are NaN then.
        keep_apart: never join micro-batches, for models whose auxiliary loss depends on what shares a batch.
    """
    import torch

    device = next(model.parameters()).device
    total = int(reduce_sum(torch.tensor([sum(counts)], dtype=torch.float64, device=device)).item())
    share = [1.0 / (len(batches) * world_size * count) if count else 0.0 for count in counts]
    plain = list(batches) if keep_apart else joined(batches)
    scale = 1.0 / max(total, 1)

    def run(parts: Sequence[Mapping[str, Any]], weights: Sequence[float], times: int = 1) -> tuple[float, float, float]:
        found = _pass(model, parts, sums, weights, times / (len(parts) * world_size), with_gradient)
        values = reduce_sum(found[0].to(device)).cpu()
        norm = _norm(found[1], reduce_sum, world_size) if with_gradient else math.nan
        return float(values[0]), float(values[1]), norm

    loss, auxiliary, norm = run(plain, [scale] * len(plain))
    means, _, means_norm = (loss, auxiliary, norm) if _alike(share, scale) else run(batches, share)
    repeated = {}
    if auxiliary:
        counts_of = {"gradient_accumulation_steps": len(batches), "world_size": world_size}
        counts_of["both"] = len(batches) * world_size
        for name, times in counts_of.items():
            again = run(plain, [scale] * len(plain), times)
            repeated[name] = (again[0], again[2])
    return Reference(
        loss=loss,
        grad_norm=norm,
        auxiliary=auxiliary,
        targets=total,
        mean_of_means=means,
        mean_of_means_grad_norm=means_norm,
        auxiliary_times=repeated,
    )


def _alike(share: Sequence[float], scale: float) -> bool:
    return all(math.isclose(s, scale, rel_tol=1e-12) for s in share)


def _pass(
    model: nn.Module,
    batches: Sequence[Mapping[str, Any]],
    sums: Callable[[Mapping[str, Any]], BatchLoss],
    weights: Sequence[float],
    auxiliary_weight: float,
    with_gradient: bool,
) -> tuple[Tensor, list[Tensor]]:
    """This process's weighted loss and auxiliary part (2,), and its gradient of each trainable tensor."""
    import torch

    trainable = [p for p in model.parameters() if p.requires_grad]
    held = [p.grad for p in trainable]
    for parameter in trainable:
        parameter.grad = None
    try:
        values = torch.zeros(2, dtype=torch.float64)
        for batch, weight in zip(batches, weights, strict=True):
            found = sums(batch)
            loss = found.total * weight
            if found.auxiliary is not None:
                extra = found.auxiliary * auxiliary_weight
                loss = loss + extra
                values[1] += extra.detach().double().cpu()
            values[0] += loss.detach().double().cpu()
            if with_gradient and loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in trainable] if with_gradient else []
    finally:
        for parameter, grad in zip(trainable, held, strict=True):
            parameter.grad = grad
    return values, grads


def _norm(grads: Sequence[Tensor], reduce_sum: ReduceSum, world_size: int) -> float:
    import torch

    squares = 0.0
    for grad in grads:
        whole = reduce_sum(grad.detach().float()) if world_size > 1 else grad.detach().float()
        squares += float(torch.linalg.vector_norm(whole).double() ** 2)
    return math.sqrt(squares)


def _has_no_logits(outputs: Any) -> bool:
    return hasattr(outputs, "logits") and outputs.logits is None
