"""Whether loss and gradient are finite, asked before the optimizer step and without holding an accelerator up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from holter.guard.batches import Step

if TYPE_CHECKING:
    from torch import Tensor


class Flags:
    """One flag a step.

    On a CPU, and where the optimizer cannot be told otherwise, the flag is one number read before the step. A fused
    optimizer on an accelerator is given the flag on its device as ``found_inf``, which is how gradient scalers make it
    skip a step; the flag is read when it has arrived, and nothing waits for it.
    """

    def __init__(self, optimizer: Any, read: str) -> None:
        self.optimizer, self.read = optimizer, read
        self.norm: Any = None
        self._given = False
        self._pending: list[tuple[Tensor, Any, Step]] = []

    def look(self, step: Step) -> Any:
        """True, False, or a 0-dim flag on its device."""
        norm = step.norm if step.norm is not None else fused_norm(self._gradients())
        self.norm = step.norm = norm
        if not self._deferred(norm):
            return self._now(step, norm)
        import torch

        bad = ~torch.isfinite(norm.detach().float())
        for loss in step.losses:
            bad = bad | ~torch.isfinite(loss.to(bad.device))
        return bad.float()

    def _now(self, step: Step, norm: Any) -> bool:
        """One read: on a device the numbers are joined before they cross over."""
        import torch

        losses = step.losses
        if torch.is_tensor(norm) and norm.device.type != "cpu" and losses:
            joined = torch.stack([norm.detach().float(), *(v.float().to(norm.device) for v in losses)])
            numbers = joined.tolist()
            step.norm, self.norm = numbers[0], numbers[0]
            bad = not all(math.isfinite(v) for v in numbers)
        else:
            step.norm = self.norm = float(norm)
            bad = not (math.isfinite(step.norm) and all(math.isfinite(float(v)) for v in losses))
        if bad and all(math.isfinite(float(v)) for v in losses):
            step.norm = self.norm = float(fused_norm(self._gradients()))  # the norm heard may be another model's
            bad = not math.isfinite(step.norm)
        return bad

    def resolve(self, flag: Any, step: Step) -> Step | None:
        """The step to act on now: this one for a plain flag, for a device's flag one whose flag has arrived."""
        import torch

        if not torch.is_tensor(flag):
            return step if flag else None
        self.optimizer.found_inf = flag
        self._given = True
        host, event = _on_its_way(flag)
        self._pending.append((host, event, step))
        return self._arrived()

    def _arrived(self) -> Step | None:
        while self._pending and (self._pending[0][1] is None or self._pending[0][1].query()):
            host, _, step = self._pending.pop(0)
            if bool(host.item()):
                return step
        return None

    def release(self) -> None:
        """After the step: the optimizer is as before."""
        if self._given:
            del self.optimizer.found_inf
            self._given = False

    def clear(self) -> None:
        """Drop what is pending."""
        self.release()
        self._pending.clear()

    def _deferred(self, norm: Any) -> bool:
        import torch

        if self.read == "step" or not torch.is_tensor(norm):
            return False
        told = bool(getattr(self.optimizer, "_step_supports_amp_scaling", False))
        return told and (self.read == "deferred" or norm.device.type != "cpu")

    def _gradients(self) -> list[Tensor]:
        groups = self.optimizer.param_groups
        return [p.grad for group in groups for p in group["params"] if p.grad is not None]


def fused_norm(gradients: list[Tensor]) -> Any:
    """L2 norm over all gradients in one fused pass per device; 0.0 when there are none. Leaves them untouched."""
    import torch

    if not gradients:
        return 0.0
    if any(g.is_sparse for g in gradients):
        gradients = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    norms: Any = torch._foreach_norm([g.detach() for g in gradients])
    first = norms[0].device
    return torch.linalg.vector_norm(torch.stack([n.float().to(first, non_blocking=True) for n in norms]))


def _on_its_way(flag: Tensor) -> tuple[Tensor, Any]:
    """A copy on its way to main memory, and the event that says it has arrived; None on a CPU."""
    import torch

    if flag.device.type != "cuda":
        return flag.detach().clone(), None
    host = torch.empty_like(flag, device="cpu", pin_memory=True)
    host.copy_(flag, non_blocking=True)
    cuda: Any = torch.cuda
    event = cuda.Event()
    event.record()
    return host, event
