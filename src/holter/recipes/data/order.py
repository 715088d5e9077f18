"""The order of rows: a function of seed and epoch alone, so that a resumed run goes on as the first would have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Sampler

if TYPE_CHECKING:
    import numpy

EPOCH_STRIDE = 100_003
"""Keeps the random streams of neighbouring seeds and epochs apart (a prime above any number of epochs)."""


class RowOrder(Sampler[int]):
    """Row numbers of one epoch.

    Args:
        rows: how many there are.
        lengths: tokens of each row, to put alike ones together; None for no grouping.
        weights: probability of each row, to draw with replacement; None for a permutation.
        step_rows: rows of one micro-step over all processes; such chunks stay together and change places.
        group_rows: rows of one update, the unit in which the library's grouping works.
        seed: of the order.
        epoch: asked at the start of each pass.
    """

    def __init__(
        self,
        rows: int,
        *,
        lengths: numpy.ndarray | None,
        weights: torch.Tensor | None,
        step_rows: int,
        group_rows: int,
        seed: int,
        epoch: Callable[[], int],
    ) -> None:
        self.rows, self.lengths, self.weights = rows, lengths, weights
        self.step_rows, self.group_rows = step_rows, group_rows
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[int]:
        draw = torch.Generator().manual_seed(self.seed + EPOCH_STRIDE * self.epoch())
        if self.weights is not None:
            yield from torch.multinomial(self.weights, self.rows, replacement=True, generator=draw).tolist()
        elif self.lengths is None:
            yield from torch.randperm(self.rows, generator=draw).tolist()
        else:
            yield from self._grouped(draw)

    def _grouped(self, draw: torch.Generator) -> Iterator[int]:
        """The library's length grouping, then whole micro-steps in random order.

        The library leaves each megabatch sorted from long to short, so that lengths run through a tide within it;
        shuffling the micro-steps removes the tide and pads not one token more. The first stays first: it holds the
        longest row, and a lack of memory shows at once. The last stays last when it is not full.
        """
        from transformers.trainer_pt_utils import get_length_grouped_indices

        assert self.lengths is not None
        indices = get_length_grouped_indices(self.lengths.tolist(), self.group_rows, generator=draw)
        chunks = [indices[i : i + self.step_rows] for i in range(0, len(indices), self.step_rows)]
        full = len(chunks) - (len(chunks[-1]) < self.step_rows)
        middle = (torch.randperm(max(0, full - 1), generator=draw) + 1).tolist()
        for chunk in [0, *middle, *range(max(full, 1), len(chunks))]:
            yield from chunks[chunk]


def padding_share(order: list[int], lengths: numpy.ndarray, batch_rows: int) -> float:
    """Share of padding in the tokens of all batches when each is padded to its longest row.

    Args:
        order: row numbers in the order they are trained on.
        lengths: tokens of each row, int64 [rows].
        batch_rows: rows of a batch.
    """
    padded = 0
    for start in range(0, len(order), batch_rows):
        batch = lengths[order[start : start + batch_rows]]
        padded += int(batch.max()) * len(batch)
    return 1.0 - float(lengths[order].sum()) / padded if padded else 0.0
