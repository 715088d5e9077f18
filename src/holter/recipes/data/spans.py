"""Span corruption, the task T5 and mT5 were pretrained on: hidden spans are replaced by sentinels and asked for.

Raffel and others, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, 3.1.4.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from holter.recipes.settings import Settings

if TYPE_CHECKING:
    import numpy


def room_for(settings: Settings) -> int:
    """Tokens of plain text that surely fit: hiding shortens the source, and targets stay far below it."""
    return settings.data.max_source_length - 1


def corrupt(
    ids: Sequence[int], *, sentinels: Sequence[int], end: int, density: float, span: float, draw: numpy.random.Generator
) -> tuple[list[int], list[int]]:
    """Hide spans of a text.

    Args:
        ids: token ids without an end mark.
        sentinels: ids of ``<extra_id_0>``, ``<extra_id_1>``, ...; there are never more spans than sentinels.
        end: id of the end mark, put after both results.
        density: share of tokens to hide.
        span: mean length of a hidden span in tokens.
        draw: source of randomness.

    Returns:
        source with a sentinel for each span, and target with each sentinel followed by what it stands for.
    """
    length = len(ids)
    hidden = min(max(1, round(length * density)), length - 1) if length > 1 else 0
    if hidden == 0:
        return [*ids, end], [sentinels[0], end]
    spans = min(max(1, round(hidden / span)), hidden, length - hidden, len(sentinels))
    hide, keep = _parts(hidden, spans, draw), _parts(length - hidden, spans, draw)
    source: list[int] = []
    target: list[int] = []
    at = 0
    for sentinel, kept, gone in zip(sentinels, keep, hide, strict=False):
        source += [*ids[at : at + kept], sentinel]
        target += [sentinel, *ids[at + kept : at + kept + gone]]
        at += kept + gone
    return [*source, end], [*target, end]


def _parts(total: int, count: int, draw: numpy.random.Generator) -> list[int]:
    """``total`` cut at random into ``count`` parts of at least 1."""
    import numpy as np

    cuts = np.sort(draw.choice(total - 1, size=count - 1, replace=False)) + 1 if count > 1 else np.empty(0, dtype=int)
    edges = [0, *cuts.tolist(), total]
    return [right - left for left, right in pairwise(edges)]


def corrupt_rows(rows: Any, settings: Settings, tokenizer: Any) -> Any:
    """The rows with spans hidden once and for all, so that evaluations are comparable.

    Args:
        rows: tokenised, with ``input_ids`` and empty ``labels``.
        settings: densities and lengths.
        tokenizer: with sentinels.
    """
    from datasets import Dataset

    hide = SpanCorruption(settings, tokenizer, inner=list, epoch=lambda: 0)
    return Dataset.from_list(hide.hidden(rows))


class SpanCorruption:
    """Hides other spans of a row in each epoch, by seed, epoch and row alone, so that a resumed run hides the same.

    Rows that already have labels are left as they are.

    Args:
        settings: densities and lengths.
        tokenizer: with sentinels ``<extra_id_0>`` and on.
        inner: the collator that pads.
        epoch: asked for each batch.
    """

    def __init__(self, settings: Settings, tokenizer: Any, inner: Any, epoch: Callable[[], int]) -> None:
        self.inner, self.epoch, self.seed = inner, epoch, settings.training.seed
        self.density, self.span = settings.data.noise_density, settings.data.mean_noise_span_length
        self.room = settings.data.max_target_length
        self.end = int(tokenizer.eos_token_id)
        vocabulary = tokenizer.get_vocab()
        numbers = (f"<extra_id_{i}>" for i in range(len(vocabulary)))
        self.sentinels = []
        for name in numbers:
            if name not in vocabulary:
                break
            self.sentinels.append(int(vocabulary[name]))

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        return self.inner(list(rows) if all(len(row["labels"]) for row in rows) else self.hidden(rows))

    def hidden(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, list[int]]]:
        """The rows as pairs of source and target."""
        made = []
        for row in rows:
            ids = row["input_ids"]
            draw = self._draw(ids)
            source, target = corrupt(
                ids, sentinels=self.sentinels, end=self.end, density=self.density, span=self.span, draw=draw
            )
            made.append({"input_ids": source, "labels": target[: self.room]})
        return made

    def _draw(self, ids: Sequence[int]) -> numpy.random.Generator:
        import numpy as np

        row = zlib.crc32(np.asarray(ids, dtype=np.int32).tobytes())
        return np.random.default_rng([self.seed, self.epoch(), row])
