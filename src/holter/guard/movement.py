"""Trainable tensors that never move."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

SAMPLE = 64  # entries of a tensor looked at first
AFTER = 20  # steps with a learning rate above 0: the first step of a LoRA moves only one factor, warmup starts at 0


class Movement:
    """Two looks at the trainable tensors: samples first, then whole tensors of those whose sample stood still."""

    def __init__(self, model: nn.Module) -> None:
        self.tensors = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.kept = {name: _sample(p) for name, p in self.tensors.items()}
        self.whole = False
        self.steps = 0

    def stepped(self) -> list[str] | None:
        """Count one step with a learning rate; after the second look the names that never moved, else None."""
        import torch

        self.steps += 1
        if self.steps < AFTER or not self.tensors:
            return None
        self.steps = 0
        look = (lambda p: p.detach()) if self.whole else _sample
        still = [name for name, p in self.tensors.items() if torch.equal(look(p), self.kept[name])]
        self.tensors = {name: self.tensors[name] for name in still}
        if self.whole or not still:
            self.kept = {}
            self.tensors = {}
            return still
        self.whole = True
        self.kept = {name: p.detach().clone() for name, p in self.tensors.items()}
        return None


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLE)][:SAMPLE].clone()
