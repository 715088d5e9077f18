"""Records what a Trainer does in one optimizer step: its micro-batches, losses as back-propagated, and norms.

Nothing is changed: the wrappers call what they wrap and hand its result on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

MISSING = object()


@dataclass(kw_only=True)
class ObservedStep:
    """What one process did in one optimizer step.

    Attributes:
        inputs: the micro-batches as `training_step` got them.
        counted_items: ``num_items_in_batch`` as passed, one entry a micro-batch.
        returned: what `training_step` returned; their sum is this process's reported loss.
        backward: the loss handed to ``Accelerator.backward`` and its cell for the factor that was applied to it.
        applied_grad_norm: norm before clipping; NaN until the step is complete or where it cannot be read.
    """

    inputs: list[Mapping[str, Any]] = field(default_factory=list)
    counted_items: list[Any] = field(default_factory=list)
    returned: list[Tensor] = field(default_factory=list)
    backward: list[tuple[Tensor, list[Tensor]]] = field(default_factory=list)
    applied_grad_norm: float = math.nan

    def backward_loss(self, grad_scale: float) -> float:
        """Sum over micro-batches of loss times the factor autograd saw, without the loss scaler's."""
        total = 0.0
        for loss, seen in self.backward:
            factor = float(seen[0]) / grad_scale if seen else math.nan
            total += float(loss.float()) * factor
        return total


class Observer:
    """Wraps ``training_step``, ``Accelerator.backward`` and ``Accelerator.clip_grad_norm_`` of one Trainer object."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.step = ObservedStep()
        self._undo: list[tuple[Any, str, Any]] = []

    def attach(self) -> Observer:
        """Start recording."""
        self._wrap(self.trainer, "training_step", self._training_step)
        self._wrap(self.trainer.accelerator, "backward", self._backward)
        self._wrap(self.trainer.accelerator, "clip_grad_norm_", self._clip)
        return self

    def detach(self) -> None:
        """Stop recording and put the methods back."""
        while self._undo:
            owner, name, before = self._undo.pop()
            if before is MISSING:
                owner.__dict__.pop(name, None)
            else:
                setattr(owner, name, before)

    def take(self) -> ObservedStep:
        """What was recorded since the last call."""
        step, self.step = self.step, ObservedStep()
        return step

    def measure_norm(self) -> None:
        """Record the gradient norm now, unless clipping already made it known."""
        if math.isnan(self.step.applied_grad_norm):
            self.step.applied_grad_norm = total_norm(self.trainer.model.parameters())

    def _wrap(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        before = owner.__dict__.get(name, MISSING)
        inner = getattr(owner, name)
        self._undo.append((owner, name, before))
        setattr(owner, name, lambda *args, **kwargs: around(inner, *args, **kwargs))

    def _training_step(self, inner: Callable[..., Any], model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self.step.inputs.append(dict(inputs) if isinstance(inputs, Mapping) else inputs)
        self.step.counted_items.append(args[0] if args else kwargs.get("num_items_in_batch"))
        loss = inner(model, inputs, *args, **kwargs)
        self.step.returned.append(loss.detach())
        return loss

    def _backward(self, inner: Callable[..., Any], loss: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen: list[Tensor] = []
        if loss.requires_grad:
            loss.register_hook(lambda grad: seen.append(grad.detach()))  # type: ignore[no-untyped-call]
        self.step.backward.append((loss.detach(), seen))
        return inner(loss, *args, **kwargs)

    def _clip(self, inner: Callable[..., Any], parameters: Iterable[Tensor], *args: Any, **kwargs: Any) -> Any:
        known = list(parameters)
        if math.isnan(self.step.applied_grad_norm):
            self.step.applied_grad_norm = total_norm(known) / grad_scale(self.trainer)
        return inner(known, *args, **kwargs)


def grad_scale(trainer: Any) -> float:
    """The loss scaler's present factor, 1.0 without one."""
    scaler = getattr(trainer.accelerator, "scaler", None)
    return float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else 1.0


def total_norm(parameters: Iterable[Tensor]) -> float:
    """L2 norm over all gradients, summed in float64; NaN when no tensor has one."""
    import torch

    norms = [torch.linalg.vector_norm(p.grad.detach().float()) for p in parameters if p.grad is not None]
    if not norms:
        return math.nan
    return float(torch.linalg.vector_norm(torch.stack([n.double().cpu() for n in norms])))
