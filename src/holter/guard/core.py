"""The guard itself, the same under every framework: hooks, the look before the optimizer step, and what follows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from holter.guard import faults, watch
from holter.guard.batches import Autocast, MicroBatch, Step, loss_in
from holter.guard.buffers import Buffers
from holter.guard.examine import Examination
from holter.guard.flags import Flags
from holter.guard.live_account import NOTHING
from holter.guard.outlook import Outlook
from holter.guard.peers import Peers
from holter.guard.record import Record
from holter.guard.safety import Safety
from holter.guard.scaler import ScalerWatch
from holter.guard.settings import Settings
from holter.guard.shards import is_sharded, local_norm, whole_copy

if TYPE_CHECKING:
    from torch import nn

SHORT = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
MOST_KEPT = 64  # micro-batches of one step kept by reference; a loop that never steps must not fill the memory


class Core:
    """Watches one model and one optimizer.

    Args:
        model: below DDP, so that its forward pass can be run again alone.
        optimizer: the innermost ``torch.optim.Optimizer``.
        settings: see `Settings`.
        record: where series and events go.
        max_grad_norm: the clip threshold, NaN when not known.
        loss_of: gives the loss of a micro-batch again, for frameworks whose loss is not the model's own.
        first: optimizer updates that were made before, in a run that is resumed.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        settings: Settings,
        record: Record,
        *,
        max_grad_norm: float = math.nan,
        loss_of: Callable[[MicroBatch], Any] | None = None,
        first: int = 0,
    ) -> None:
        self.model, self.optimizer, self.settings, self.record = model, optimizer, settings, record
        self.max_grad_norm, self.loss_of = max_grad_norm, loss_of
        self.peers = Peers()
        self.declared_dtype = ""
        self.unreplayable = ""
        self.sharded = is_sharded(model)
        self.settings_seen: dict[str, Any] = {}
        self.announce_with: Callable[[str], None] | None = None
        self.safety = Safety(record)
        self.first = first
        self.step = Step(index=first)
        self.inputs: Any = None
        acts = settings.on_fault != "continue"
        self.flags = Flags(optimizer, settings.read, acts=acts, alone=self.peers.size == 1)
        self.buffers = Buffers(model)
        self.outlook = Outlook(self)
        self.scaler = ScalerWatch(record)
        self.last: Examination | None = None
        self.faults = 0
        self._handles: list[Any] = []
        self._autocast_seen = ""
        self._asks, self._scaling, self._unstepped, self._once = True, False, False, True

    def attach(self, *, own_hooks: bool = True) -> Core:
        """Place the hooks; without ``own_hooks`` the framework itself calls `begin` and `check`."""
        self._asks = own_hooks
        if own_hooks:
            add: Any = self.model.register_forward_pre_hook
            self._handles.append(add(self._before_forward, with_kwargs=True, prepend=True))
            self._handles.append(self.model.register_forward_hook(self._after_forward))
        self._handles.append(self.optimizer.register_step_pre_hook(self._before_step))
        self._handles.append(self.optimizer.register_step_post_hook(self._after_step))
        watch.listen(self)
        self.safety.run(self.outlook.start)
        return self

    def detach(self) -> None:
        """Take every hook off, whatever happened."""
        watch.silence(self)
        while self._handles:
            self._handles.pop().remove()
        self.outlook.stop()
        self.flags.clear()
        self.step = Step(index=self.step.index)

    def finish(self) -> None:
        """Detach and write what is pending."""
        for late in self.safety.run(self.flags.arrived) or ():  # too late to stop for it, or to ask the others
            self.faults += 1
            self.safety.run(faults.again, self, late)
        self.safety.run(self.outlook.finish)
        self.detach()
        with suppress(Exception):
            self.peers.close()
        self.safety.run(self.record.flush)

    @property
    def autocast_dtype(self) -> str:
        """What the forward pass is autocast to; empty for nothing."""
        seen = self.step.batches[-1].autocast.dtype if self.step.batches else self._autocast_seen
        return seen or self.declared_dtype

    def computes_in_half(self) -> bool:
        """Whether activations are fp16, whose range is the narrow one."""
        import torch

        if self.autocast_dtype == "float16":
            return True
        return not self.autocast_dtype and any(p.dtype is torch.float16 for p in self.model.parameters())

    def precision(self) -> str:
        """What is autocast to, else the dtypes of the weights, as ``fp16``, ``bf16`` and ``fp32``."""
        own = {str(p.dtype).split(".")[-1] for p in self.model.parameters() if p.is_floating_point()}
        names = [self.autocast_dtype] if self.autocast_dtype else sorted(own)
        return ", ".join(SHORT.get(name, name) for name in names)

    def given(self, **inputs: Any) -> None:
        """What the coming loss is made of, for a ``loss_of`` that needs more than the model is called with: it finds
        them in `MicroBatch.inputs`. To be called before the model."""
        self.inputs = inputs

    def scaler_scale(self) -> float:
        """The loss scale in use, 1.0 without a scaler."""
        return self.scaler.scale

    def announce(self, text: str) -> None:
        """Hand a line to the framework's loggers."""
        if self.announce_with is not None and self.peers.rank == 0:
            self.safety.run(self.announce_with, text)

    # What the hooks hear. Nothing here may raise except on purpose.

    def begin(self, *args: Any) -> None:
        """A forward and backward pass on ``args`` begins."""
        self.safety.run(self._keep, args, {})

    def _before_forward(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.safety.run(self._keep, args, kwargs)

    def _after_forward(self, module: Any, args: tuple[Any, ...], output: Any) -> None:
        self.safety.run(self._keep_output, output)

    def _keep_output(self, output: Any) -> None:
        import torch

        if self.step.batches and self.model.training and torch.is_grad_enabled():
            batch, loss = self.step.batches[-1], loss_in(output)
            batch.returned, batch.own_loss = True, None if loss is None else loss.detach()

    def _keep(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        import torch

        from holter.accounting.snapshot import RandomState

        if not self.model.training or not torch.is_grad_enabled():
            return
        device = next(self.model.parameters()).device.type
        batch = MicroBatch(
            args=args,
            kwargs=dict(kwargs),
            random_state=RandomState(),
            autocast=Autocast.now(device),
            inputs=self.inputs,
        )
        if not self.step.batches and self.settings.on_fault != "continue":
            self.step.buffers = self.buffers.keep()
        if len(self.step.batches) >= MOST_KEPT:
            del self.step.batches[0]
        self.step.batches.append(batch)
        self._autocast_seen = batch.autocast.dtype
        self.outlook.forward()

    def heard_scale(self, scaler: Any, loss: Any) -> None:
        """The loss before it is multiplied by the loss scale."""
        self.scaler.scaler, self.flags.scaled = scaler, bool(scaler.is_enabled())
        self.heard_backward(loss)

    def heard_backward(self, loss: Any) -> None:
        """A loss; the first one after a forward pass is that pass's."""
        if self.step.batches and self.step.batches[-1].loss is None and hasattr(loss, "detach") and loss.numel() == 1:
            self.step.batches[-1].loss = loss.detach()

    def heard_norm(self, norm: Any) -> None:
        """A gradient norm between backward and step is this step's."""
        if self.step.batches and self.step.norm is None:
            self.step.norm = local_norm(norm, self.peers.size)
        self.safety.run(self.flags.after_clip)

    def about_to_change(self) -> None:
        """Gradients are about to change."""
        self.flags.before_backward()

    def heard_gradients(self) -> None:
        """A backward pass has ended."""
        self.safety.run(self.flags.after_backward, self.step)

    def about_to_clip(self) -> None:
        """Gradients are about to be clipped by their norm."""
        self.safety.run(self.flags.before_clip)

    def heard_scaler_step(self, scaler: Any, optimizer: Any, step: Callable[[], Any]) -> Any:
        """A scaler steps our optimizer, or does not."""
        ours = getattr(optimizer, "optimizer", optimizer) is self.optimizer or optimizer is self.optimizer
        if not ours or not scaler.is_enabled():
            return step()
        before, self._scaling = self.step.index, True
        try:
            if not self.flags.told and self.flags.acts:
                self._fold(scaler, optimizer)
            result = step()
        finally:
            self._scaling = self.flags.folded = False
        if self.step.index == before:
            self._skipped_by(scaler)
        elif not self.flags.deferred:
            self.safety.run(self.scaler.stepped)
        return result

    def _fold(self, scaler: Any, optimizer: Any) -> None:
        """The scaler reads a flag of its own before the step. With the losses in it nothing else has to be read."""
        import torch

        flag = self.safety.run(self.flags.bad_losses, self.step)
        everyone = self.peers.any(torch.zeros((), device=self.flags.device) if flag is None else flag)
        self.safety.run(self.flags.fold, scaler, optimizer, everyone)

    def _skipped_by(self, scaler: Any) -> None:
        """The scaler found inf or NaN in the gradients. With a finite loss that is how it finds its scale."""
        local = self.safety.run(self._loss_broken) or self.safety.run(self.scaler.skipped, scaler, self.step.index)
        if self.peers.any(bool(local)):
            faults.met(self, "loss-scale" if self.scaler.collapsed else "loss", self.step)
        self.step = Step(index=self.step.index)

    def _loss_broken(self) -> bool:
        return any(not math.isfinite(float(loss)) for loss in self.step.losses)

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        self._once = not (self._asks and callable(closure))
        if not self._once:
            rest = {k: v for k, v in kwargs.items() if k != "closure"}
            return (*args[:1], self._heard_closure(closure), *args[2:]), rest
        if self._asks or self._scaling:
            self.check()
        other = None if self._scaling else self.flags.stand_in(args)
        return None if other is None else (other, kwargs)

    def _heard_closure(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """An optimizer that is given a closure runs forward and backward inside its step, LBFGS several times over;
        each evaluation is looked at before the optimizer makes anything of it."""

        def evaluate() -> Any:
            self.step = Step(index=self.step.index)
            loss = closure()
            self.check()
            self.flags.ahead.stepped()
            return loss

        return evaluate

    def check(self) -> None:
        """Gradients are complete and the weights are about to be touched."""
        if self.flags.folded:  # the scaler has looked, and steps
            self.safety.run(self.flags.measure, self.step)
            self._put_norm_together()
            return
        local = self.safety.run(lambda: self.flags.look(self.step, self._scaling, once=self._once))
        self._put_norm_together()
        broken = self._agree(local)
        self._unstepped = self._scaling and bool(self.safety.run(self.flags.skips_now))
        self._settle()
        for step in broken:
            faults.met(self, "step", step)

    def _agree(self, local: Any) -> list[Step]:
        agreed = self.peers.any(self.flags.nothing(self._scaling, self._once) if local is None else local)
        broken = self.flags.resolve(agreed, self.step)
        self._counted_on(self.flags.prepare)
        return broken

    def _counted_on(self, what: Callable[[], Any]) -> Any:
        """The other processes take a step back, so a guard that has failed does it too."""
        if self.safety.broken is None or self.peers.size == 1:
            return self.safety.run(what)
        with suppress(Exception):
            return what()
        return None

    def _put_norm_together(self) -> None:
        """Where weights lie in parts each process has the norm of its own; their squares are added where they lie, so
        that no host waits for it."""
        import torch

        if self.sharded:
            share = 0.0 if self.step.norm is None else self.step.norm
            share = torch.as_tensor(share, dtype=torch.float32, device=self.flags.device)
            self.step.norm = torch.sqrt(self.peers.total(share * share))

    def _settle(self) -> None:
        """What became of the steps whose flags came late: made, or skipped by the scaler."""
        settled, self.flags.settled = self.flags.settled, []
        collapsed = False
        for skipped in settled if self.scaler.scaler is not None else ():
            if skipped:
                collapsed = bool(self.safety.run(self.scaler.skipped, self.scaler.scaler, self.step.index))
            else:
                self.safety.run(self.scaler.stepped)
        if collapsed:
            faults.met(self, "loss-scale", self.step)

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._counted_on(self.flags.take_back)
        self.flags.release()
        if self._unstepped:  # a fused optimizer is called, and skips by its scaler's flag
            self._unstepped = False
            return
        done = self.step
        self.step = Step(index=done.index + 1)
        if self.outlook.account_due(done.index):
            numbers = self.safety.run(self.outlook.account_numbers, done)
            self.safety.run(self.outlook.account, done, self.peers.sum(numbers or NOTHING))
        self.safety.run(self.outlook.stepped, done, time.perf_counter())

    def drop_gradients(self) -> None:
        """Keep a broken step from the weights, where nothing stops."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def replica(self) -> nn.Module:
        """The model to replay on. Every process comes here, whatever became of its guard."""
        return whole_copy(self.model, self.settings.capsule_bytes) if self.sharded else self.model
