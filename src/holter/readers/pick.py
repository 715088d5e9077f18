"""Chooses the reader of a file. A reader is one line in `READERS`; its module is loaded when a file needs it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from holter.readers.base import Match, Reader, Sample

READERS: tuple[str, ...] = (
    "facts",
    "runs_file",
    "trainer_state",
    "jsonl",
    "table",
    "tensorboard",
    "mlflow",
    "wandb_offline",
    "binary",
    "settings_json",
    "settings_yaml",
    "settings_toml",
    "requirements",
    "script",
    "shell",
    "notebook",
    "markdown",
    "console_log",
)


@cache
def readers() -> tuple[Reader, ...]:
    """All readers in the order of the table."""
    return tuple(cast(Reader, import_module(f"holter.readers.{name}")) for name in READERS)


def pick(sample: Sample) -> tuple[Reader, Match] | None:
    """The reader with the highest score for a file, the first listed among equals; None when none wants it."""
    best: tuple[Reader, Match] | None = None
    for reader in readers():
        match = reader.sniff(sample)
        if match is not None and (best is None or match.score > best[1].score):
            best = (reader, match)
    return best
