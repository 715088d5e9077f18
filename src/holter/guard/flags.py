"""Whether loss and gradient are finite, asked before the optimizer step and without holding an accelerator up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holter.guard.ahead import Ahead, on_its_way
from holter.guard.batches import Step
from holter.guard.parts import Parts, standing_in, steps_by_parameter
from holter.guard.shards import is_part, local
from holter.guard.undo import Undo, can_undo

if TYPE_CHECKING:
    from torch import Tensor

LAG = 1
"""Steps that a flag may be under way. One step later the device has long passed it, so the wait for it is none; and a
fixed number is the same on every process, so that all act on a fault in the same step."""

TELLING = "cuda"  # devices whose events say, without a wait, what has arrived; ROCm's have the same name


@dataclass(kw_only=True)
class UnderWay:
    """A flag that is read after its step.

    Attributes:
        host: flag, and whether a gradient scaler skips the step; on their way to main memory.
        event: says that they have arrived; None where there is nothing to wait for.
        step: whose they are.
        undo: what takes the step back; None where the optimizer itself skips by the flag.
    """

    host: Tensor
    event: Any
    step: Step
    undo: Undo | Parts | None = None


class Flags:
    """One flag a step.

    On a CPU the flag is one number read before the step. A fused optimizer on an accelerator is given the flag on its
    device as ``found_inf``, which is how gradient scalers make it skip a step; the flag is read a step later. For any
    other optimizer the flag is sent on its way right after the last backward (see `Ahead`) and has arrived when the
    step begins, in a loop that waits for the device in between. In one that does not, the step is made, and taken back
    on the device by its flag, as a whole where it is small (see `Undo`), else part by part where the optimizer
    allows that (see `Parts`); otherwise the guard waits. Under a gradient scaler the
    gradients are the scaler's to judge: it reads its own flag before every step, and the losses join that flag.

    Args:
        optimizer: the innermost one.
        read: as of `holter.guard.settings.Settings`.
        acts: whether a broken step is kept from the weights; otherwise the optimizer is told nothing.
        alone: whether there is one process only.

    Attributes:
        scaled: whether a gradient scaler is on.
    """

    def __init__(self, optimizer: Any, read: str, *, acts: bool = True, alone: bool = True) -> None:
        self.optimizer, self.read, self.acts, self.alone = optimizer, read, acts, alone
        self.ahead = Ahead()
        self.scaled = False
        self.norm: Any = None
        self.folded = False
        self.settled: list[bool] = []
        self._given = False
        self._in_parts = any(is_part(p) for group in optimizer.param_groups for p in group["params"])
        self._pending: list[UnderWay] = []
        self._open: tuple[UnderWay, Tensor] | None = None
        parted = self._tells and acts and steps_by_parameter(optimizer, sharded=self._in_parts)
        self._other = standing_in(optimizer, self._groups) if parted else None

    @property
    def told(self) -> bool:
        """Whether the optimizer takes ``found_inf`` and skips by it, as fused ones do."""
        return bool(getattr(self.optimizer, "_step_supports_amp_scaling", False))

    @property
    def deferred(self) -> bool:
        """Whether flags stay on their device and are read later; the same on every process. A run that continues
        is told of a fault before its step, since a later replay would find the weights spoiled."""
        return self.told and self._far and (self.acts or self.scaled or self.read == "deferred")

    @property
    def _far(self) -> bool:
        """Whether a number would have to be waited for."""
        return self.read != "step" and (self.read == "deferred" or self.device.type != "cpu")

    @property
    def _tells(self) -> bool:
        """Whether the device can be asked, without a wait, how far it has come."""
        return self._far and (self.read == "deferred" or self.device.type == TELLING)

    @property
    def device(self) -> Any:
        """Where the first weight lies."""
        import torch

        first = next((p for group in self.optimizer.param_groups for p in group["params"]), None)
        return torch.device("cpu") if first is None else first.device

    def nothing(self, scaled: bool, once: bool) -> Any:
        """The flag of a process that did not look; of the kind that the others send. Arguments as of `look`."""
        import torch

        far = self.deferred or (not scaled and self._will_undo(once))
        return torch.zeros((), device=self.device) if far else False

    def before_backward(self) -> None:
        """The gradients are about to change."""
        self.ahead.forget()

    def after_backward(self, step: Step) -> None:
        """They have: ask ahead, where that may spare a wait; under a gradient scaler for the losses only, where the
        scaler is told nothing."""
        if self.deferred or not self._tells or not self.ahead.is_last():
            return
        if self.scaled:
            if not self.acts:
                self.ahead.ask(self.bad_losses(step), None, [])
            return
        gradients = self._gradients()
        if gradients:
            norm = fused_norm(gradients)
            self.ahead.ask(self._bad(step, norm), norm, gradients)

    def before_clip(self) -> None:
        """A clip of norms is about to multiply the gradients."""
        if self._asked and not self.ahead.holds(self._gradients()):
            self.ahead.forget()

    def after_clip(self) -> None:
        """It has, and by at most 1."""
        if self._asked:
            self.ahead.clipped(self._gradients())

    @property
    def _asked(self) -> bool:
        """Whether the gradients were asked about."""
        return self.ahead.flag is not None and not self.scaled

    def look(self, step: Step, scaled: bool = False, *, once: bool = True) -> Any:
        """True, False, or a 0-dim flag on its device, which is read later.

        Args:
            step: whose losses and norm are looked at; its norm is filled in.
            scaled: a gradient scaler steps the optimizer, and skips by itself when a gradient is not finite.
            once: whether this is the only look at the step, before anything moves.
        """
        known = self._asked and self.ahead.holds(self._gradients())
        if known and step.norm is None:
            step.norm = self.ahead.norm
        self.measure(step)
        if self.deferred:
            return self.bad_losses(step) if scaled else self._bad(step, step.norm)
        answer = self.ahead.answer() if known or scaled else None
        if scaled:
            return any(not math.isfinite(float(v)) for v in step.losses) if answer is None else answer
        settled = answer is False and not self._pending
        if settled and self.alone:
            return False
        if self._will_undo(once):  # several processes all do: what has arrived at one may not have at another
            if not (self.alone and answer):
                return self.ahead.flag if known else self._bad(step, fused_norm(self._gradients()))
        elif settled:
            return False
        return self._now(step, step.norm)

    def _will_undo(self, once: bool) -> bool:
        """Whether the step is made before its flag is read, and taken back by it."""
        if not (once and self._tells and self.acts):
            return False
        return self._other is not None or (not self._in_parts and can_undo(self.optimizer))

    def measure(self, step: Step) -> None:
        """The gradient norm of a step where nobody has computed it, without the loss scale."""
        if step.norm is None:
            scale = getattr(self.optimizer, "grad_scale", None)
            norm = fused_norm(self._gradients())
            step.norm = norm if scale is None else norm / scale
        self.norm = step.norm

    def fold(self, scaler: Any, optimizer: Any, flag: Tensor) -> None:
        """Let the losses' flag join the scaler's, which it reads anyway; adding 0 changes nothing."""
        from torch.amp.grad_scaler import OptState

        state = scaler._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.READY:
            scaler.unscale_(optimizer)  # which the scaler's step does first of all
        for device, found in state["found_inf_per_device"].items():
            found.add_(flag.to(device=device, dtype=found.dtype))
        self.folded = bool(state["found_inf_per_device"])

    def bad_losses(self, step: Step) -> Tensor:
        """1.0 when a loss is not finite, 0-dim on the device of the weights."""
        import torch

        bad = torch.zeros((), dtype=torch.bool, device=self.device)
        for loss in step.losses:
            bad = bad | ~torch.isfinite(loss.to(bad.device))
        return bad.float()

    def skips_now(self) -> bool:
        """Whether the scaler tells the fused optimizer to skip; read at once where nothing is deferred."""
        given = getattr(self.optimizer, "found_inf", None)
        return given is not None and not self.deferred and bool(given)

    def _bad(self, step: Step, norm: Any) -> Tensor:
        """1.0 when a loss or the norm is not finite, 0-dim on the device of the weights."""
        import torch

        bad = self.bad_losses(step)
        norm = torch.as_tensor(norm, device=bad.device).detach().float()
        return torch.maximum(bad, (~torch.isfinite(norm)).float())

    def _now(self, step: Step, norm: Any) -> bool:
        """One read: on a device the numbers are joined before they cross over."""
        import torch

        losses = step.losses
        if losses and not on_host(norm):
            joined = torch.stack([norm.detach().float(), *(v.float().to(norm.device) for v in losses)])
            numbers = joined.tolist()
            step.norm, self.norm = numbers[0], numbers[0]
            heard = [b for b in step.batches if b.loss is not None]
            for batch, number in zip(heard, numbers[1:], strict=True):
                batch.loss = torch.tensor(number)  # in main memory, so that nobody has to ask again
            bad = not all(math.isfinite(v) for v in numbers)
        else:
            step.norm = self.norm = float(norm)
            bad = not (math.isfinite(step.norm) and all(math.isfinite(float(v)) for v in losses))
        if bad and all(math.isfinite(float(v)) for v in losses):
            step.norm = self.norm = float(fused_norm(self._gradients()))  # the norm heard may be another model's
            bad = not math.isfinite(step.norm)
        return bad

    def resolve(self, flag: Any, step: Step) -> list[Step]:
        """The broken steps to act on now: this one for a plain flag, for a device's flag those whose flag has
        arrived."""
        import torch

        self._open = None
        if not (self.deferred or torch.is_tensor(flag)):
            return [*self.arrived(), *([step] if flag else [])]
        flag = torch.as_tensor(flag, dtype=torch.float32, device=self.device)
        given = getattr(self.optimizer, "found_inf", None)
        if self.acts and self.deferred:
            self._given = given is None
            self.optimizer.found_inf = flag if given is None else torch.maximum(given, flag.to(given.device))
        skips = torch.zeros_like(flag) if given is None else given.to(flag.device).reshape(flag.shape).float()
        host, event = on_its_way(torch.stack([flag, skips]))
        self._pending.append(UnderWay(host=host, event=event, step=step))
        if not self.deferred:
            self._open = self._pending[-1], flag
        return self.arrived(LAG)

    def prepare(self) -> None:
        """Keep what a step changes that is made before its flag is read; after the step before was put back."""
        if self._open is not None:
            late, flag = self._open
            whole = self._other is None or can_undo(self.optimizer)
            late.undo = Undo(self.optimizer, flag) if whole else Parts(self.optimizer, flag)

    def take_back(self) -> None:
        """The step was made; now its flag decides."""
        opened, self._open = self._open, None
        if opened is not None and opened[0].undo is not None:
            opened[0].undo.after()

    def stand_in(self, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """What the optimizer's own step is called with, where it is not the optimizer; see `standing_in`."""
        return None if self._other is None or not args else (self._other, *args[1:])

    def _groups(self) -> Any:
        """What that step goes through."""
        undo = None if self._open is None else self._open[0].undo
        return undo if isinstance(undo, Parts) else self.optimizer.param_groups

    def arrived(self, under_way: int = 0) -> list[Step]:
        """The broken steps among all but the latest ``under_way``."""
        broken = []
        while len(self._pending) > under_way or (self._pending and self._pending[0].event is None and self.deferred):
            late = self._pending.pop(0)
            if late.event is not None:
                late.event.synchronize()
            bad, skipped = (bool(v) for v in late.host.tolist())
            if bad and late.undo is not None:
                late.undo.back()
            if bad:
                broken.append(late.step)
            else:
                self.settled.append(skipped)
        return broken

    def release(self) -> None:
        """After the step: the optimizer is as before."""
        if self._given:
            del self.optimizer.found_inf
            self._given = False
        self.ahead.stepped()

    def clear(self) -> None:
        """Drop what is pending."""
        self._open = None
        self.release()
        self._pending.clear()

    def _gradients(self) -> list[Tensor]:
        groups = self.optimizer.param_groups
        return [local(p.grad) for group in groups for p in group["params"] if p.grad is not None]


def on_host(value: Any) -> bool:
    """Whether a number can be read without waiting for an accelerator."""
    import torch

    return not torch.is_tensor(value) or value.device.type == "cpu"


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
