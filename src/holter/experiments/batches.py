"""Fingerprints of batches: two replays are compared only where they saw the same samples.

A row's fingerprint ignores padding, so that a change of padding side or multiple leaves it as it is, and a step's
fingerprint ignores order and how the rows were split into micro-batches and processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IGNORED = ("attention_mask", "position_ids", "decoder_attention_mask", "decoder_input_ids", "num_items_in_batch")
"""Derived from the rest, or describing padding only."""

IGNORE_INDEX = -100  # torch.nn.CrossEntropyLoss: labels with this id do not count, so they pad label sequences


def row_fingerprints(batch: Mapping[str, Any]) -> list[str]:
    """One hexadecimal fingerprint a row of a collated batch.

    Args:
        batch: name -> tensor of shape (rows, ...); anything else is left out.
    """
    import torch

    tensors = {k: v for k, v in sorted(batch.items()) if isinstance(v, torch.Tensor) and v.ndim and k not in IGNORED}
    mask = batch.get("attention_mask")
    rows = max((len(v) for v in tensors.values()), default=0)
    found = []
    for row in range(rows):
        digest = hashlib.sha256()
        for name, tensor in tensors.items():
            if row < len(tensor):
                digest.update(name.encode())
                digest.update(_content(tensor[row], _mask_of(mask, tensor, row)))
        found.append(digest.hexdigest()[:16])
    return found


def step_fingerprint(rows: Iterable[str]) -> str:
    """The fingerprint of one optimizer step from those of its rows, over all micro-batches and processes."""
    return hashlib.sha256("".join(sorted(rows)).encode()).hexdigest()[:16]


def _mask_of(mask: Any, tensor: torch.Tensor, row: int) -> torch.Tensor | None:
    if mask is None or mask.shape != tensor.shape:
        return None
    found: torch.Tensor = mask[row]
    return found


def _content(values: torch.Tensor, mask: torch.Tensor | None) -> bytes:
    if mask is not None:
        values = values[mask.bool()]
    elif values.ndim and not values.is_floating_point():
        values = values[values != IGNORE_INDEX]
    return values.detach().cpu().contiguous().flatten().double().numpy().tobytes()
