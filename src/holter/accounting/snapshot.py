"""Keeps what a measurement may change and puts it back, bit for bit."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class RandomState:
    """State of the generators of Python, NumPy (when loaded) and torch, CPU and every accelerator in use."""

    def __init__(self) -> None:
        import torch

        self.python = random.getstate()
        self.numpy = sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None
        self.torch = torch.get_rng_state()
        cuda: Any = torch.cuda
        self.cuda: list[Tensor] = cuda.get_rng_state_all() if cuda.is_available() and cuda.is_initialized() else []

    def restore(self) -> None:
        """Put every generator back."""
        import torch

        random.setstate(self.python)
        if self.numpy is not None:
            sys.modules["numpy"].random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)

    def same(self) -> bool:
        """Whether the generators stand where they stood."""
        import torch

        numpy_same = True
        if self.numpy is not None:
            now = sys.modules["numpy"].random.get_state()
            numpy_same = bool((now[1] == self.numpy[1]).all()) and now[2:] == self.numpy[2:]
        cuda = torch.cuda.get_rng_state_all() if self.cuda else []
        return (
            random.getstate() == self.python
            and numpy_same
            and torch.equal(torch.get_rng_state(), self.torch)
            and all(torch.equal(a, b) for a, b in zip(cuda, self.cuda, strict=True))
        )


class ModelState:
    """Weights, buffers, gradients, modes, hooks and configuration of a model.

    Values are copied to the CPU for trainable tensors and buffers only; a frozen tensor is kept by reference with
    its version counter, since nothing writes to it. With several processes DDP does write to it, what the first
    process has, so there a checksum of its bits is kept too.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.tensors: list[tuple[Tensor, Tensor, Tensor | None]] = []
        self.frozen: list[tuple[Tensor, int, int]] = []
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.requires_grad or not isinstance(tensor, _parameter_class()):
                self.tensors.append((tensor, tensor.data, tensor.detach().to("cpu", copy=True)))
            else:
                self.frozen.append((tensor, tensor._version, _bits(tensor) if _several_processes() else 0))
        self.grads = [(p, p.grad, p.requires_grad) for p in model.parameters()]
        self.grad_values = [None if g is None else g.detach().clone() for _, g, _ in self.grads]
        self.modules = [(m, dict(m.__dict__), _copied_tables(m)) for m in model.modules()]
        self.configs = _configs(model)

    def restore(self) -> None:
        """Put everything back in place, keeping the identity of every tensor."""
        import torch

        for module, attributes, tables in self.modules:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            for name, table in tables.items():
                current = module.__dict__[name]
                current.clear()
                current.update(table)
        with torch.no_grad():
            for tensor, data, value in self.tensors:
                if tensor.data_ptr() != data.data_ptr() or tensor.dtype != data.dtype:
                    tensor.data = data
                if value is not None:
                    tensor.copy_(value.to(tensor.device))
            for (parameter, grad, wanted), value in zip(self.grads, self.grad_values, strict=True):
                parameter.requires_grad_(wanted)
                parameter.grad = grad
                if grad is not None and value is not None:
                    grad.copy_(value)
        for config, attributes in self.configs:
            config.__dict__.clear()
            config.__dict__.update(attributes)

    def same(self) -> bool:
        """Whether weights, buffers, gradients and frozen tensors are as they were, bit for bit."""
        import torch

        return (
            all(v is None or torch.equal(t.detach().cpu(), v) for t, _, v in _without_nan(self.tensors))
            and all(t._version == version or (bits and _bits(t) == bits) for t, version, bits in self.frozen)
            and all(p.grad is g and p.requires_grad == wanted for p, g, wanted in self.grads)
        )


def _without_nan(tensors: list[tuple[Tensor, Tensor, Tensor | None]]) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """Bit patterns compare as integers, so a NaN weight equals itself."""
    return [(_as_bits(t.cpu()), data, None if value is None else _as_bits(value)) for t, data, value in tensors]


def _as_bits(tensor: Tensor) -> Tensor:
    import torch

    sizes = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    kind = sizes.get(tensor.element_size())
    return tensor.detach() if kind is None or tensor.is_complex() else tensor.detach().contiguous().view(kind)


def _bits(tensor: Tensor) -> int:
    """A checksum that is never 0."""
    return int(_as_bits(tensor).long().sum()) * 2 + 1


def _several_processes() -> bool:
    import torch

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _parameter_class() -> type[torch.nn.Parameter]:
    import torch

    return torch.nn.Parameter


def _copied_tables(module: nn.Module) -> dict[str, Any]:
    """Hooks, parameters and children live in dictionaries that are changed in place."""
    return {name: copy.copy(value) for name, value in module.__dict__.items() if isinstance(value, dict)}


def _configs(model: nn.Module) -> list[tuple[Any, dict[str, Any]]]:
    found: dict[int, tuple[Any, dict[str, Any]]] = {}
    for module in model.modules():
        for name in ("config", "generation_config"):
            config = getattr(module, name, None)
            if config is not None and hasattr(config, "__dict__"):
                found.setdefault(id(config), (config, dict(config.__dict__)))
    return list(found.values())


def plain_copy(value: Any) -> Any:
    """A deep copy of containers of plain values, so that a measurement's own logging never reaches the original.

    Anything that is not a container of plain values is returned as it is.
    """
    if isinstance(value, (list, dict, set)) or type(value).__module__ == "collections":
        try:
            if _is_plain(value):
                return copy.deepcopy(value)
        except (TypeError, RecursionError):
            return value
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(v) for v in value.values())
    if isinstance(value, (list, tuple, set, frozenset)) or type(value).__module__ == "collections":
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))
