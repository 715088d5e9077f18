"""Rows of any dataset as columns of numbers, a chunk at a time, so that millions of rows pass in little memory.

Shapes: N rows of a chunk, V values of all of its lists laid end to end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 8_192  # rows in memory at a time: a few MB of token ids
MOST_SECONDS = 60.0  # a dataset that tokenises as it is read can take hours; what was read by then is reported
_PRIME = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, the usual odd multiplier of Fibonacci hashing


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Lists of whole numbers: ``values`` int64 [V], ``offsets`` int64 [N + 1] as in Arrow."""

    values: NDArray[Any]
    offsets: NDArray[Any]

    @property
    def lengths(self) -> NDArray[Any]:
        """Int64 [N]."""
        found: NDArray[Any] = self.offsets[1:] - self.offsets[:-1]
        return found

    def sums(self, of_values: NDArray[Any]) -> NDArray[Any]:
        """The sum of ``of_values`` [V] over each list, [N]; wraps around for whole numbers."""
        import numpy as np

        running = np.concatenate([np.zeros(1, of_values.dtype), np.cumsum(of_values, dtype=of_values.dtype)])
        found: NDArray[Any] = running[self.offsets[1:]] - running[self.offsets[:-1]]
        return found


Column = Lists | Sequence[Any]
Chunk = Mapping[str, Column]


class Reader:
    """Chunks of a dataset: one of the datasets library, of torch, or anything that can be iterated more than once.

    Attributes:
        complete: whether the end was reached within `MOST_SECONDS`.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.complete = True

    def __iter__(self) -> Iterator[tuple[int, Chunk]]:
        """Number of rows, and their columns."""
        started = time.monotonic()
        is_table = hasattr(self.dataset, "with_format") and hasattr(self.dataset, "iter")
        for rows, chunk in self._tables() if is_table else self._rows():
            yield rows, chunk
            if time.monotonic() - started > MOST_SECONDS:
                self.complete = False
                return

    def _tables(self) -> Iterator[tuple[int, Chunk]]:
        for table in self.dataset.with_format("arrow").iter(CHUNK):
            yield table.num_rows, {name: _of_arrow(table.column(name)) for name in table.column_names}

    def _rows(self) -> Iterator[tuple[int, Chunk]]:
        rows = iter(_each(self.dataset))
        while chunk := list(islice(rows, CHUNK)):
            names = {name for row in chunk for name in row}
            yield len(chunk), {name: _of_rows([_plain(row.get(name)) for row in chunk]) for name in sorted(names)}


def _each(dataset: Any) -> Iterator[Mapping[str, Any]]:
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        rows: Iterator[Any] = (dataset[index] for index in range(len(dataset)))
    else:
        rows = iter(dataset)
    for row in rows:
        yield row if isinstance(row, Mapping) else {"row": row}


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _of_arrow(column: Any) -> Column:
    import numpy as np
    import pyarrow as pa

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    is_list = pa.types.is_list(array.type) or pa.types.is_large_list(array.type)
    if not is_list or not pa.types.is_integer(array.type.value_type) or array.null_count:
        return list(array.to_pylist())
    offsets = array.offsets.to_numpy().astype(np.int64)
    values = array.values.to_numpy(zero_copy_only=False).astype(np.int64)
    return Lists(values=values[offsets[0] : offsets[-1]], offsets=offsets - offsets[0])


def _of_rows(values: list[Any]) -> Column:
    import numpy as np

    if not all(isinstance(v, list) and (not v or type(v[0]) is int) for v in values):
        return values
    offsets = np.concatenate([[0], np.cumsum([len(v) for v in values])]).astype(np.int64)
    try:
        flat = np.fromiter(chain.from_iterable(values), dtype=np.int64, count=int(offsets[-1]))
    except (TypeError, ValueError, OverflowError):
        return values
    return Lists(values=flat, offsets=offsets)


def prints(column: Column) -> NDArray[Any]:
    """A 64-bit digest of each row, uint64 [N]; equal rows have equal digests.

    For lists: the sum over positions p of mix(value) * R^(p+1) modulo 2^64, R odd, with splitmix64's first step as mix.
    Two different rows of three million agree by chance once in two million data sets.
    """
    import numpy as np

    if not isinstance(column, Lists):
        return np.fromiter((_print(value) for value in column), dtype=np.int64, count=len(column)).view(np.uint64)
    mixed = column.values.astype(np.uint64) * np.uint64(_PRIME)
    mixed ^= mixed >> np.uint64(30)
    longest = int(column.lengths.max(initial=0))
    powers = np.cumprod(np.full(longest + 1, _PRIME, dtype=np.uint64), dtype=np.uint64)
    place = np.arange(len(column.values), dtype=np.int64) - np.repeat(column.offsets[:-1], column.lengths)
    return column.sums(mixed * powers[place]) + column.lengths.astype(np.uint64)


def _print(value: Any) -> int:
    try:
        return hash(value)
    except TypeError:
        return hash(repr(value))


def joined(digests: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """One digest a row from those of its columns, which must be the same ones in every chunk; uint64 [N]."""
    import numpy as np

    total: Any = np.uint64(0)
    for name in sorted(digests):
        total = (total * np.uint64(31) + digests[name]) * np.uint64(_PRIME)
        total = total ^ (total >> np.uint64(29))
    found: NDArray[Any] = total
    return found
