"""What a guard keeps of a step: references to its batches and the random state before each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holter.accounting.snapshot import RandomState
from holter.guard.buffers import Kept

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Autocast:
    """The mixed precision context around a forward pass.

    Attributes:
        device: ``cpu`` or ``cuda``.
        dtype: name such as ``float16``; empty when there was none.
    """

    device: str
    dtype: str

    def context(self) -> AbstractContextManager[Any]:
        """The same context again."""
        import torch

        if not self.dtype:
            return nullcontext()
        dtype: torch.dtype = getattr(torch, self.dtype)
        return torch.autocast(self.device, dtype=dtype)

    @staticmethod
    def now(device: str) -> Autocast:
        """The context that is on."""
        import torch

        on = torch.is_autocast_enabled(device)
        return Autocast(device=device, dtype=str(torch.get_autocast_dtype(device)).split(".")[-1] if on else "")


@dataclass(kw_only=True)
class MicroBatch:
    """One forward and backward pass.

    Attributes:
        args, kwargs: what the model was called with, by reference.
        inputs: what the loss function was called with, where the loss is not the model's own; else None.
        random_state: before the forward pass.
        autocast: around it.
        loss: what was back-propagated, 0-dim on its device; None until then.
        returned: whether the model's output was seen.
        own_loss: the loss in that output, 0-dim on its device; None where it holds none.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    random_state: RandomState
    autocast: Autocast
    inputs: Mapping[str, Any] | None = None
    loss: Tensor | None = None
    returned: bool = False
    own_loss: Tensor | None = None

    @property
    def broke_outside(self) -> bool:
        """Whether the loss is not finite by what the loop made of the model's output, and not by the model."""
        if self.loss is None or math.isfinite(float(self.loss)) or not self.returned:
            return False
        return self.own_loss is None or math.isfinite(float(self.own_loss))


def loss_in(output: Any) -> Any:
    """The loss in a model's output: its ``loss``, or a number that it is or begins with; else None."""
    import torch

    loss = getattr(output, "loss", None)
    if loss is not None:
        return loss
    found = output[0] if isinstance(output, tuple) and output else output
    return found if torch.is_tensor(found) and found.numel() == 1 else None


@dataclass(kw_only=True)
class Step:
    """One optimizer step so far.

    Attributes:
        index: optimizer updates before it.
        batches: its forward and backward passes.
        norm: of its gradients before clipping; None until it is known.
        buffers: what its forward passes may change of the model, as it was before; see `holter.guard.buffers`.
        made: whether it has moved the weights, and nobody takes it back.
    """

    index: int = 0
    batches: list[MicroBatch] = field(default_factory=list)
    norm: Any = None
    buffers: Kept = field(default_factory=list)
    made: bool = False

    @property
    def losses(self) -> list[Tensor]:
        """Losses heard so far."""
        return [b.loss for b in self.batches if b.loss is not None]
