"""Takes the step of a large optimizer back part by part, so that the copy for it stays small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from holter.guard.undo import Undo, is_plain, limit_of, size_of

if TYPE_CHECKING:
    from torch import Tensor

BY_ELEMENT = frozenset(
    {
        "torch.optim.adadelta.Adadelta",
        "torch.optim.adagrad.Adagrad",
        "torch.optim.adam.Adam",
        "torch.optim.adamax.Adamax",
        "torch.optim.adamw.AdamW",
        "torch.optim.asgd.ASGD",
        "torch.optim.nadam.NAdam",
        "torch.optim.radam.RAdam",
        "torch.optim.rmsprop.RMSprop",
        "torch.optim.rprop.Rprop",
        "torch.optim.sgd.SGD",
    }
)
"""Those of `BY_PARAMETER` that treat each number by itself. Where weights lie in parts on several processes, these
exchange nothing inside their step, so it does not matter how far each process goes through it."""

BY_PARAMETER = BY_ELEMENT | {
    "torch.optim.Adafactor",
    "torch.optim._adafactor.Adafactor",
    "torch.optim.Muon",
    "torch.optim._muon.Muon",
    "transformers.optimization.Adafactor",
}
"""Optimizers whose step goes once through ``param_groups``, writes to parameters and their states only, and treats each
parameter by itself: what becomes of one hangs on its own gradient and states and on the settings of its group. Read in
the source of torch 2.13 and transformers 5.23, and tried with them and with torch 2.4: a step in parts is that of the
whole to the last bit. A class derived from one of these is not it."""

SAME_STEP = "bitsandbytes.optim.optimizer.Optimizer8bit"
"""All optimizers of bitsandbytes that are derived from it have its step, of the same kind (read and tried in 0.50)."""

LEFT = 2  # a larger copy takes at most one such part of what is spare: the step itself needs memory, too
HEALTH = "_cuda_graph_capture_health_check"  # goes through the groups too, before the step does


class Parts(list[Any]):
    """The groups of an optimizer, for one step: going through them keeps a part before it is stepped, and takes it back
    by the flag before the next. Those gone through so far are found by their index, as bitsandbytes does.

    A parameter whose copy is larger than a hundredth of the device is a part by itself, if the training has had twice
    that memory in use before and has it free now. Where it has not, or where a part would be stepped by other kernels
    than the whole, the flag is read instead, and of a broken step nothing more is made.

    Args:
        optimizer: one that `steps_by_parameter`.
        flag: as of `Undo`.
    """

    def __init__(self, optimizer: Any, flag: Tensor) -> None:
        super().__init__(optimizer.param_groups)
        self.optimizer, self.flag = optimizer, flag
        self._undos: list[Undo] = []
        self._broken: bool | None = None
        self._failed: Exception | None = None
        self._walked = False

    def __iter__(self) -> Iterator[Any]:
        self._walked = True
        self.clear()
        try:
            yield from self._parts()
        finally:
            self[:] = self.optimizer.param_groups

    def after(self) -> None:
        """The step was made.

        Raises:
            Exception: what kept a part from being copied.
            RuntimeError: it was made without these groups.
        """
        if self._failed is not None:
            raise self._failed
        if not self._walked:
            raise RuntimeError("the optimizer was stepped in another way than by the groups that it was given")

    def back(self) -> None:
        """As of `Undo`."""
        for undo in reversed(self._undos):
            undo.back()

    def _parts(self) -> Iterator[Any]:
        for group, parameters, fits in self._plan():
            undo = self._keep(parameters) if fits and self._broken is None else None
            if undo is None and self._is_broken():
                return
            self.append(group if len(parameters) == len(group["params"]) else {**group, "params": parameters})
            try:
                yield self[-1]
            finally:
                self._stepped(undo)

    def _plan(self) -> list[tuple[Any, list[Any], bool]]:
        """Each part's group and parameters, and whether its copy fits."""
        groups = [(group, [p for p in group["params"] if p.grad is not None]) for group in self.optimizer.param_groups]
        groups = [(group, parameters) for group, parameters in groups if parameters]
        if not _alike(self.optimizer, [p for _, parameters in groups for p in parameters]):
            return [(group, group["params"], False) for group, _ in groups]
        return [(group, *part) for group, parameters in groups for part in self._packed(parameters)]

    def _packed(self, parameters: list[Any]) -> Iterator[tuple[list[Any], bool]]:
        limit, device = limit_of(parameters[0].device), parameters[0].device
        part: list[Any] = []
        taken = 0
        for parameter in parameters:
            size = size_of(self.optimizer, parameter)
            if part and taken + size > limit:
                yield part, taken <= limit or taken <= _spare(device)
                part, taken = [], 0
            part.append(parameter)
            taken += size
        yield part, taken <= limit or taken <= _spare(device)

    def _keep(self, parameters: list[Any]) -> Undo | None:
        import torch

        try:
            self._undos.append(Undo(self.optimizer, self.flag, parameters))
        except torch.cuda.OutOfMemoryError:
            return None
        except Exception as error:  # the step is the training's: it goes on, and is told after it
            self._failed = error
            return None
        return self._undos[-1]

    def _stepped(self, undo: Undo | None) -> None:
        try:
            if undo is not None:
                undo.after()
        except Exception as error:
            self._failed = error

    def _is_broken(self) -> bool:
        """What the flag says. The host waits for it, once a step."""
        if self._broken is None:
            self._broken = bool(self.flag)
        return self._broken


def steps_by_parameter(optimizer: Any, *, sharded: bool = False) -> bool:
    """Whether a step of it can be made part by part; the same on every process.

    Args:
        optimizer: any.
        sharded: its weights lie in parts on several processes.
    """
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(optimizer).__mro__]
    if sharded:
        return names[0] in BY_ELEMENT
    return names[0] in BY_PARAMETER or (names[0].startswith("bitsandbytes.optim.") and SAME_STEP in names)


def standing_in(optimizer: Any, groups: Callable[[], Any]) -> Any:
    """What an optimizer's own step is called with in place of it: the same object, attribute by attribute, but for the
    groups that it goes through. Hooks, schedules and whoever else holds the optimizer see it as it always was.

    Args:
        optimizer: a ``torch.optim.Optimizer``.
        groups: asked whenever the step wants ``param_groups``.
    """
    kind: Any = type(optimizer)
    own: dict[str, Any] = {"param_groups": property(lambda _: groups())}
    if hasattr(optimizer, HEALTH):
        own[HEALTH] = lambda _: getattr(optimizer, HEALTH)()
    other: Any = object.__new__(type(kind)(kind.__name__, (kind,), own))
    other.__dict__ = optimizer.__dict__
    return other


def _alike(optimizer: Any, parameters: list[Any]) -> bool:
    """Whether kernels for lists of tensors are chosen for a part as for the whole: they ask each tensor of a list for
    its class, device and strides. And whether it can all be copied."""
    import torch

    if any(group.get("differentiable") for group in optimizer.param_groups) or _has_places(optimizer):
        return False
    kinds = {(type(p), p.device, p.dtype if _eps_of_first(optimizer) else None) for p in parameters}
    if len(kinds) > 1:
        return False
    return all(
        p.grad.layout is torch.strided
        and p.grad.dtype is p.dtype
        and p.grad.stride() == p.stride()
        and is_plain(optimizer, p)
        for p in parameters
    )


def _eps_of_first(optimizer: Any) -> bool:
    """Whether this is torch's Adafactor without an eps, which takes that of the first parameter's dtype for all."""
    eps = [group.get("eps") for group in optimizer.param_groups]
    return any(isinstance(values, tuple) and None in values for values in eps)


def _has_places(optimizer: Any) -> bool:
    """Whether bitsandbytes was given settings for parameters by their place in the groups."""
    manager = getattr(optimizer, "mng", None)
    return bool(getattr(manager, "index2config", None) or getattr(manager, "module_weight_config_triple", None))


def _spare(device: Any) -> int:
    """Bytes that the copy of one parameter may take: what training had in use at its peak and has free now, as the
    allocator has counted it on the host."""
    import torch

    if device.type != "cuda":
        return 0
    counts = torch.cuda.memory_stats(device)
    peak, now = (counts.get(f"allocated_bytes.all.{when}", 0) for when in ("peak", "current"))
    return int(peak - now) // LEFT
