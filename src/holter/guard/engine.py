"""The guard of a DeepSpeed engine, which clips, skips and steps by itself: it listens to ``backward`` and ``step``.

A gradient lies in parts on the processes and is the engine's own until it has stepped. Most engines read, before they
move the weights, whether it is finite, and skip the step if not (see `judges`). There a loss that is not finite is
given a gradient of NaN, on its device: the engine skips that step on every process, and the guard reads nothing in a
healthy one. After a skipped step it asks whether a loss was the reason. Where the engine does not look, losses are read
before its step. Its norm is read a step later in any case, when it has long arrived.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from holter.guard import faults
from holter.guard.ahead import on_its_way
from holter.guard.batches import Step
from holter.guard.core import Core
from holter.guard.flags import UnderWay, fused_norm
from holter.guard.record import Record
from holter.guard.settings import Settings
from holter.guard.shards import bare_copy

if TYPE_CHECKING:
    from torch import nn

PARTITIONED_WEIGHTS = 3  # the ZeRO stage from which on a process holds a part of each weight only


def is_engine(model: Any) -> bool:
    """Whether this is a ``deepspeed.DeepSpeedEngine``, told by its class so that nothing is imported."""
    return any(f"{c.__module__}.{c.__name__}".startswith("deepspeed.runtime") for c in type(model).__mro__)


def judges(engine: Any) -> bool:
    """Whether an engine reads, before it moves the weights, whether the gradient is finite, and skips the step if not.

    In fp16, and where ``check_grad_overflow`` is on under ZeRO-1 and 2, every version does. From 0.19.8 on, told by the
    function that judges the norm there, all others do but ZeRO-1 and 2 with ``check_grad_overflow`` off in bf16 or
    ``compute_grad_norm`` off, an optimizer that is not wrapped (fp32 without ZeRO), and ZenFlow, which moves some
    weights before it looks.
    """
    optimizer = engine.optimizer
    if getattr(engine, "zenflow", False) or not hasattr(optimizer, "overflow"):
        return False
    checks = getattr(optimizer, "check_grad_overflow", None)
    if engine.fp16_enabled() or checks:
        return True
    from deepspeed.runtime import utils

    by_norm = hasattr(utils, "is_invalid_grad_norm") and getattr(optimizer, "compute_grad_norm", True)
    return by_norm and (checks is None or not engine.bfloat16_enabled())


def _is_free(engine: Any) -> bool:
    """Whether nobody else gives the inner optimizer a flag, and it steps on the device."""
    scalers = ((engine, "torch_autocast_z0_gradscaler"), (engine.optimizer, "torch_autocast_gradscaler"))
    return not engine.zero_cpu_offload() and all(getattr(owner, name, None) is None for owner, name in scalers)


class EngineCore(Core):
    """Watches one DeepSpeed engine.

    Args:
        engine: what ``deepspeed.initialize`` or Accelerate's ``prepare`` made of the model.
        settings: see `Settings`; under ``on_fault="skip"`` the engine skips what it judges, and the rest is reported
            only.
        record: where series and events go.
        **options: as of `Core`.
    """

    def __init__(self, engine: Any, settings: Settings, record: Record, **options: Any) -> None:
        super().__init__(engine.module, _inner_optimizer(engine), settings, record, **options)
        self.engine = engine
        self.partitioned = int(engine.zero_optimization_stage()) >= PARTITIONED_WEIGHTS
        self.device = next(self.model.parameters()).device
        acts = self.flags.acts and settings.read != "step"
        far = settings.read == "deferred" or self.device.type != "cpu"
        self.judged = acts and judges(engine)
        self.tells = acts and far and not self.judged and self.flags.told and _is_free(engine)
        self._flag: Any = None
        self._wrapped = False
        self._finite: Any = None
        self._sent: UnderWay | None = None
        self._met: Step | None = None

    def attach(self, *, own_hooks: bool = True) -> EngineCore:
        """Place the hooks, and listen to the engine's ``backward`` and ``step``."""
        add: Any = self.model.register_forward_pre_hook
        self._handles.append(add(self._before_forward, with_kwargs=True, prepend=True))
        self.safety.run(self.outlook.start)
        if self.partitioned:
            self.outlook.movement = None
        backward, step = self.engine.backward, self.engine.step

        def heard(loss: Any, retain_graph: bool = False, scale_wrt_gas: bool = True) -> Any:
            mark = self.safety.run(self._heard, loss, scale_wrt_gas)
            try:
                return backward(loss, retain_graph=retain_graph, scale_wrt_gas=scale_wrt_gas)
            finally:
                if mark is not None:
                    mark.remove()

        self.engine.backward = heard
        self.engine.step = lambda *args, **kwargs: self._around_step(lambda: step(*args, **kwargs))
        self._wrapped = True
        if self.tells:
            self._handles.append(self.optimizer.register_step_pre_hook(self._before_move))
        return self

    def detach(self) -> None:
        """Take every hook off, whatever happened."""
        if self._wrapped:
            self._wrapped = False
            del self.engine.backward, self.engine.step
        super().detach()

    def finish(self) -> None:
        """Say what is still under way, detach and write."""
        sent, self._sent = self._sent, None
        if sent is not None and sent.step is not self._met and self.safety.run(_arrived, sent):
            self.faults += 1
            self.safety.run(faults.again, self, sent.step)
        super().finish()

    def scaler_scale(self) -> float:
        """The engine's loss scale, 1.0 without one."""
        found = getattr(self.engine.optimizer, "loss_scale", 1.0)
        return float(found) if isinstance(found, (int, float)) or hasattr(found, "item") else 1.0

    def drop_gradients(self) -> None:
        """What is skipped is the engine's to decide."""

    def check(self) -> None:
        """The engine is about to step without a look at its gradient: is a loss not finite, on any process?"""
        broken = self.safety.run(lambda: not bool(self._all_finite()))
        self._look_back()  # nobody waits for it: it was sent before what was read now
        if self.peers.any(bool(broken)):
            self._meet("step", self.step)

    def _tell(self) -> None:
        """The engine is about to step without a look at its gradient, with an optimizer that skips by a flag on its
        device, as fused ones do. It is given the flag of all processes, which is read a step later."""
        import torch

        self._look_back()
        finite = self.safety.run(self._all_finite)
        self._flag = self.peers.any(torch.zeros((), device=self.device) if finite is None else (~finite).float())

    def _before_move(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """The flag is joined by the norm, which the engine has by now, the same on all processes."""
        import torch

        if self._flag is None:  # not the engine's step
            return
        norm = getattr(self.engine.optimizer, "_global_grad_norm", None)
        if norm is not None:
            self._flag = torch.maximum(self._flag, (~torch.isfinite(_beside(norm, self.device))).float())
        optimizer.found_inf = self._flag

    def _heard(self, loss: Any, divided: bool) -> Any:
        """The loss as the engine back-propagates it, which it divides by the accumulation steps unless told not to.
        Gives the hook by which it gets a gradient of NaN if it is not finite, where that makes the engine skip."""
        import torch

        known = len(self.step.losses)
        self.heard_backward(loss / self.engine.gradient_accumulation_steps() if divided else loss)
        if len(self.step.losses) == known:
            return None
        finite = torch.isfinite(loss.detach()).reshape(())
        self._finite = finite if self._finite is None else self._finite & finite
        if not self.judged or not loss.requires_grad:
            return None
        return loss.register_hook(lambda gradient: torch.where(finite, gradient, math.nan))

    def _around_step(self, step: Any) -> Any:
        if not self._is_boundary():
            return step()
        if self.tells:
            self._tell()
        elif not self.judged:
            self.check()
        before = self.engine.skipped_steps
        try:
            result = step()
        finally:
            if self.tells:
                vars(self.optimizer).pop("found_inf", None)
        if self.judged:
            self._look_back()
        if self.engine.skipped_steps > before:
            self._skipped()
            self.step = Step(index=self.step.index)
        else:
            self.safety.run(self._send)
            self.safety.run(self.scaler.stepped)
            self._after_step(self.optimizer, (), {})
        self._finite = self._flag = None
        return result

    def _is_boundary(self) -> bool:
        """Whether the engine's ``step`` will move the weights; where the caller owns the boundary it always does."""
        managed = getattr(self.engine, "managed_gradient_accumulation", None)
        return not (managed() if callable(managed) else True) or bool(self.engine.is_gradient_accumulation_boundary())

    def _meet(self, where: str, step: Step) -> None:
        """A fault; one step has one."""
        if step is not self._met:
            self._met = step
            faults.met(self, where, step)

    def _all_finite(self) -> Any:
        """Whether losses are, and the gradient where it is whole and nobody scales it; 0-dim, on the device."""
        import torch

        finite = torch.ones((), dtype=torch.bool, device=self.device) if self._finite is None else self._finite
        whole = self.engine.optimizer is self.optimizer
        if whole and getattr(self.engine, "torch_autocast_z0_gradscaler", None) is None:
            norm = fused_norm([p.grad for p in self.model.parameters() if p.grad is not None])
            self.step.norm = _beside(norm, finite.device)
            finite = finite & torch.isfinite(self.step.norm)
        return finite

    def _loss_broken(self) -> bool:
        return self._finite is not None and not bool(self._finite)

    def _send(self) -> None:
        """The step was made: whether loss and norm are finite goes on its way to the host."""
        import torch

        finite = torch.ones((), dtype=torch.bool, device=self.device) if self._finite is None else self._finite
        norm = self.engine.get_global_grad_norm()
        if norm is not None:
            self.step.norm = _beside(norm, finite.device)
        if self.step.norm is None:
            self.step.norm = torch.full((), math.nan, device=finite.device)
        else:
            finite = finite & torch.isfinite(self.step.norm)
        host, event = on_its_way((~finite).float())
        self._sent = UnderWay(host=host, event=event, step=self.step)

    def _look_back(self) -> None:
        """What the step before sent has arrived: a fault from which its optimizer was told to keep the weights, or of
        an engine that moved them all the same."""
        sent, self._sent = self._sent, None
        step = self.step if sent is None else sent.step
        if self.peers.any(sent is not None and bool(self.safety.run(_arrived, sent))):
            step.made = not self.tells
            self._meet("step", step)

    def _skipped(self) -> None:
        """All processes skip alike. A loss that is not finite is a fault. Else, with a dynamic loss scale, skipping is
        how it is found; without one it is a fault, and the engine has kept it from the weights."""
        if self.peers.any(bool(self.safety.run(self._loss_broken))):
            self._meet("step", self.step)
            return
        collapsed = self.safety.run(self.scaler.skipped, _EngineScale(self), self.step.index)
        if not (self.engine.fp16_enabled() and self.engine.dynamic_loss_scale()):
            self._meet("step", self.step)
        elif self.peers.any(bool(collapsed)):  # the guard of one may have failed
            self._meet("loss-scale", self.step)

    def replica(self) -> nn.Module:
        """A copy: on the engine's own module a replay would set off its reductions, here and not on the other
        processes, which would then wait for ever. Where weights lie in parts, all gather them."""
        if not self.partitioned:
            return bare_copy(self.model)
        parameters: list[Any] = list(self.model.parameters())
        size = sum(int(p.ds_numel) * p.element_size() for p in parameters)
        if size > self.settings.capsule_bytes:
            raise MemoryError(f"whole, its weights take {size >> 20} MiB, and capsule_bytes allows less")
        import deepspeed

        with deepspeed.zero.GatheredParameters(parameters):
            return bare_copy(self.model)


class _EngineScale:
    """The engine's loss scale, as a gradient scaler gives it."""

    def __init__(self, core: EngineCore) -> None:
        self.core = core

    def get_scale(self) -> float:
        return self.core.scaler_scale()


def _beside(number: Any, device: Any) -> Any:
    """A norm, 0-dim on a device, which need not be waited for: one that lies elsewhere lies in main memory. Engines
    say -1 of one that is not finite."""
    import torch

    if torch.is_tensor(number) and number.device == device:
        found = number.detach().float().reshape(())
    else:
        found = torch.full((), float(number), device=device)
    return torch.where(found < 0, math.inf, found)


def _arrived(sent: UnderWay) -> bool:
    """The flag of the step before. The engine, or the guard, has waited for later numbers since."""
    if sent.event is not None:
        sent.event.synchronize()
    return bool(sent.host.tolist())


def _inner_optimizer(engine: Any) -> Any:
    """The optimizer whose groups hold the learning rates."""
    from holter.guard.loop import base_optimizer

    return base_optimizer(engine.optimizer)
