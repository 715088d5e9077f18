"""Arrow files that are written once, under a temporary name, and memory-mapped ever after."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

ROWS_A_BATCH = 10_000
"""Rows in memory at a time; 10,000 lines of text are a few MB, and larger batches are no faster."""


def write_once(path: Path, schema: pyarrow.Schema, batches: Callable[[], Iterator[pyarrow.RecordBatch]]) -> Dataset:
    """The dataset stored at ``path``, written first when it is not there. Safe when several processes ask at once.

    Args:
        path: of the Arrow stream file.
        schema: its columns.
        batches: called only when the file has to be written.
    """
    import pyarrow as pa
    from datasets import Dataset

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
                for batch in batches():
                    writer.write_batch(batch)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return Dataset.from_file(str(path))


def write_text(path: Path, rows: Iterable[dict[str, str]], columns: Sequence[str]) -> Dataset:
    """Store the text columns of a stream of rows."""
    import pyarrow as pa

    schema = pa.schema([(column, pa.string()) for column in columns])

    def batches() -> Iterator[pa.RecordBatch]:
        stream = iter(rows)
        while chunk := list(islice(stream, ROWS_A_BATCH)):
            arrays: list[Any] = [pa.array([row[column] for row in chunk], pa.string()) for column in columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return write_once(path, schema, batches)
