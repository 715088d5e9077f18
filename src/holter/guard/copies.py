"""Copies that are made, and put back, only where a flag on the device says so."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

PIECE = 1 << 22  # fp32 numbers moved as one: 16 MiB, of which the kernel writes as much to nobody's memory
PATTERNS = (0x7FA12345, -0x005EDCBB, -0x80000000, 1, 0x7F800000, 0x3F800001, 0, -1)
"""Bits of fp32 numbers that arithmetic would not give back: signalling NaN, -0, a denormal, infinity."""


class Moved:
    """Memory as fp32 numbers, moved by a kernel that looks at the flag first and ends there in a healthy step.

    It is that of the fused SGD: in its first step the momentum becomes the gradient, bit for bit, and by ``found_inf``
    it does nothing. The weights that it also writes to are a piece of memory that nobody reads.

    Args:
        live: 1-dim fp32 views on one device.
        flag: 1.0 where they have to be put back, else 0.0; on any device.
    """

    def __init__(self, live: list[Any], flag: Tensor) -> None:
        import torch

        pieces = [(t,) if t.numel() <= PIECE else t.split(PIECE) for t in live]
        self._live = [piece for some in pieces for piece in some]
        self._kept = [torch.empty_like(piece) for piece in self._live]
        sizes = [piece.numel() for piece in self._live]
        waste = torch.empty(max(sizes), dtype=torch.float32, device=live[0].device)
        shares = {size: waste[:size] for size in set(sizes)}
        self._waste = [shares[size] for size in sizes]
        self._healthy = 1.0 - flag.to(waste.device)
        move(self._kept, self._live, self._waste, self._healthy)

    def back(self) -> None:
        """Put them back, where the flag says so."""
        move(self._live, self._kept, self._waste, self._healthy)


class Added:
    """Memory as whole numbers: ``live += (kept - live) * flag`` adds 0 in a healthy step and gives the old bits back in
    a broken one. For what no kernel moves; the memory is gone through five times.

    Args:
        live: views as whole numbers of one width on one device.
        flag: as of `Moved`.
    """

    def __init__(self, live: list[Tensor], flag: Tensor) -> None:
        import torch

        self._live, self._kept = live, torch._foreach_add(live, 0)
        self._flag = flag.to(device=live[0].device, dtype=live[0].dtype)

    def back(self) -> None:
        """Put them back, where the flag says so."""
        import torch

        kept: Any = self._kept
        torch._foreach_sub_(kept, self._live)
        torch._foreach_mul_(kept, self._flag)
        torch._foreach_add_(self._live, kept)


def kept(tensors: list[Tensor], flag: Tensor) -> list[Moved | Added]:
    """Copies of tensors, one object a device and way.

    Args:
        tensors: strided, of any dtype of at most 8 bytes.
        flag: as of `Moved`.
    """
    import torch

    ways: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.numel():
            view = _numbers(tensor)
            ways.setdefault((view.dtype, view.device), []).append(view)
    return [(Moved if dtype is torch.float32 else Added)(views, flag) for (dtype, _), views in ways.items()]


def move(to: list[Tensor], source: list[Tensor], waste: list[Tensor], skip: Tensor) -> None:
    """``to`` becomes ``source`` unless ``skip`` is 1.0, which the device looks at.

    Args:
        to: 1-dim, fp32.
        source: of the same lengths.
        waste: of the same lengths; spoiled.
        skip: 0-dim, fp32, on the same device.
    """
    import torch

    fused: Any = torch._fused_sgd_
    settings = {"weight_decay": 0.0, "lr": 0.0, "dampening": 0.0, "nesterov": False, "maximize": False}
    fused(waste, source, to, momentum=1.0, is_first_step=True, found_inf=skip, **settings)


@cache
def moves(device: Any) -> bool:
    """Whether `move` does on this device what it says. It is no public promise of torch, so it is tried, once."""
    import torch

    bits = torch.tensor(PATTERNS, dtype=torch.int32).to(device)
    source = [bits.view(torch.float32), bits[:5].view(torch.float32)]
    to, waste = [torch.zeros_like(t) for t in source], [torch.zeros_like(t) for t in source]
    try:
        move(to, source, waste, torch.ones((), dtype=torch.float32, device=device))
        left = not any(bool(t.count_nonzero()) for t in to)
        move(to, source, waste, torch.zeros((), dtype=torch.float32, device=device))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return left and all(torch.equal(a.view(torch.int32), bits[: len(a)]) for a in (*to, *source))


def _numbers(tensor: Tensor) -> Tensor:
    """The same memory as fp32 numbers in a row, where it is one piece of whole ones; else as whole numbers."""
    import torch

    tensor = tensor.detach()
    if tensor.dtype is torch.float32 and tensor.is_contiguous() and moves(tensor.device):
        return tensor.view(-1)
    width = tensor.element_size()
    if tensor.numel() * width % 4 == 0 and tensor.storage_offset() * width % 4 == 0 and moves(tensor.device):
        if tensor.is_contiguous():
            return tensor.view(-1).view(torch.float32)
        if _is_one_piece(tensor):
            return tensor.as_strided((tensor.numel(),), (1,)).view(torch.float32)
    whole: dict[int, torch.dtype] = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.view(whole[width])


def _is_one_piece(tensor: Tensor) -> bool:
    """Whether the elements fill their memory without a gap, in whatever order."""
    return 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)) == tensor.numel()
