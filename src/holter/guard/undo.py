"""Takes an optimizer's step back on its device, by a flag that the host has not read yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from holter.guard.copies import kept
from holter.guard.shards import is_part, local

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 100  # a copy may take a hundredth of the device's memory; it lives for the step only, when activations are gone
SMALL = 64 << 20  # bytes that it may take where the size of the device is not known
PLAIN = (int, float, bool, str, type(None))
WIDEST = 8  # bytes of the widest whole number
SEARCHING = ("LBFGS",)  # it evaluates inside its step, so the weights have moved before the last look


class Undo:
    """What a step is about to change, and how it is put back.

    Weights and states on the device are copied before the step and put back after it, both only where the flag says so,
    to the last bit (see `holter.guard.copies`). What lies on the host, such as step counters, is put back once the flag
    has been read.

    Args:
        optimizer: whose step it is.
        flag: 1.0 where it has to be taken back, else 0.0; 0-dim fp32 on the device.
        parameters: those that the step moves, each with a gradient; all, and their groups' settings, by default.
    """

    def __init__(self, optimizer: Any, flag: Tensor, parameters: Iterable[Any] | None = None) -> None:
        self.optimizer = optimizer
        moved = list(_stepped(optimizer) if parameters is None else parameters)
        self._states = {p: dict(optimizer.state[p]) for p in moved if p in optimizer.state}
        self._fresh = [p for p in moved if p not in optimizer.state]
        groups = optimizer.param_groups if parameters is None else ()
        self._groups = [(group, {k: v for k, v in group.items() if k != "params"}) for group in groups]
        self._changed: list[tuple[Any, str, Any]] = []
        here: list[Tensor] = []
        self._on_host: list[tuple[Tensor, Tensor]] = []
        for parameter in moved:
            home = parameter.device
            for tensor in tensors_of(optimizer, parameter):
                if tensor.device == home:
                    here.append(tensor)
                else:
                    self._on_host.append((tensor, tensor.clone()))
        self._kept = kept(here, flag)

    def after(self) -> None:
        """The step was made; where the flag says so, its device's part is put back."""
        while self._kept:
            self._kept.pop().back()
        for group, before in self._groups:
            self._changed += [(group, k, v) for k, v in before.items() if group[k] is not v]

    def back(self) -> None:
        """The flag said so: the host's part of it."""
        for tensor, value in self._on_host:
            tensor.copy_(value)
        for parameter, state in self._states.items():
            self.optimizer.state[parameter].clear()
            self.optimizer.state[parameter].update(state)
        for parameter in self._fresh:
            self.optimizer.state.pop(parameter, None)
        for group, name, value in self._changed:
            group[name] = value


def can_undo(optimizer: Any) -> bool:
    """Whether all that a step changes is plain, can be copied and is small beside the device."""
    if type(optimizer).__name__ in SEARCHING:
        return False
    limit, taken = -1, 0
    for parameter in _stepped(optimizer):
        limit = limit_of(parameter.device) if limit < 0 else limit
        if not is_plain(optimizer, parameter):
            return False
        taken += size_of(optimizer, parameter)
        if taken > limit:
            return False
    return limit >= 0


def limit_of(device: Any) -> int:
    """Bytes that a copy may take at any time."""
    import torch

    if device.type != "cuda":
        return SMALL
    return int(torch.cuda.get_device_properties(device).total_memory) // SHARE


def is_plain(optimizer: Any, parameter: Any) -> bool:
    """Whether a parameter and its states can be copied."""
    import torch

    state = optimizer.state.get(parameter, {})
    return isinstance(state, Mapping) and all(
        isinstance(v, PLAIN) or (torch.is_tensor(v) and v.layout is torch.strided and v.element_size() <= WIDEST)
        for v in (parameter, *state.values())
    )


def size_of(optimizer: Any, parameter: Any) -> int:
    """Bytes of a parameter and its states."""
    return sum(t.numel() * t.element_size() for t in tensors_of(optimizer, parameter))


def tensors_of(optimizer: Any, parameter: Any) -> list[Tensor]:
    """A parameter and its states, as far as they lie here."""
    state = optimizer.state.get(parameter, {})
    tensors = [parameter, *(v for v in state.values() if hasattr(v, "element_size"))]
    return [local(v) if is_part(v) else v for v in tensors]


def _stepped(optimizer: Any) -> Iterator[Any]:
    return (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
