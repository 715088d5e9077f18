"""Reads whatever a training run left behind into one `Run`. Nothing that is read is ever executed or unpickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holter.errors import HolterError, ReadError
from holter.readers.base import Sample
from holter.readers.interpolate import prefer_environment, resolve_run
from holter.readers.merge import merge
from holter.readers.pick import pick
from holter.readers.source.call_order import add_listed_calls
from holter.readers.walk import files_below
from holter.run import Authority, Gap, Input, Run, Source, Value

__all__ = ["read"]

GIVEN = "--set"

_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
"""First bytes of packed files, by the format."""


def read(paths: Sequence[Path], *, settings: Mapping[str, Any] | None = None) -> Run:
    """Everything below some paths, merged into one Run.

    Args:
        paths: files or folders.
        settings: setting -> plain value, as given with ``--set``; they outrank every file.

    Returns:
        The Run; files that could not be read in full are in ``run.gaps``, and every file in ``run.inputs``.

    Raises:
        ReadError: a path does not exist, or nothing below the paths could be read.
        MissingExtra: the only readable files need an optional library.
    """
    found = files_below([Path(path) for path in paths])
    parts, failures = [Run(gaps=list(found.gaps))], list[HolterError]()
    for sample in found.samples:
        part, failure = read_one(sample)
        parts.append(part)
        if failure is not None:
            failures.append(failure)
    if not any(_says_something(part) for part in parts):
        raise failures[0] if failures else _nothing(paths, merge(parts))
    run = merge([*parts, _given(settings or {})])
    resolve_run(run)
    prefer_environment(run)
    add_listed_calls(run)
    return run


def read_one(sample: Sample) -> tuple[Run, HolterError | None]:
    """What one file says, and the error when it could not be read."""
    chosen = pick(sample)
    if chosen is None:
        return Run(inputs=[Input(file=sample.shown, reader="none", why=_why_left(sample))]), None
    reader, match = chosen
    try:
        part = reader.read(sample)
    except HolterError as error:
        gap = Gap(source=sample.source(key=error.where or None), what=error.what, why=error.why, do=error.do)
        return Run(inputs=[Input(file=sample.shown, reader=reader.NAME, why=match.why)], gaps=[gap]), error
    part.inputs.insert(0, Input(file=sample.shown, reader=reader.NAME, why=match.why))
    return part, None


def _why_left(sample: Sample) -> str:
    if not sample.size:
        return "empty"
    packed = next((name for mark, name in _PACKED if sample.head.startswith(mark)), "")
    if packed:
        return f"compressed ({packed}); unpack it first"
    return "binary" if sample.encoding is None else "no reader knows this format"


def _given(settings: Mapping[str, Any]) -> Run:
    from holter.values import add

    part = Run()
    for key, given in settings.items():
        template = Value(value=given, source=Source(file=GIVEN, key=key), raw=str(given), authority=Authority.SET)
        add(part, key, given, template=template)
    return part


def _says_something(run: Run) -> bool:
    return bool(run.series or run.config or run.facts or run.variants or run.events or run.code)


def _nothing(paths: Sequence[Path], run: Run) -> ReadError:
    where = ", ".join(str(path) for path in paths)
    if run.gaps:
        gap = run.gaps[0]
        return ReadError(f"nothing could be read below {where}", where=gap.source.file, why=gap.why, do=gap.do)
    return ReadError(
        f"nothing could be read below {where}",
        where=where,
        why=_why_nothing(run.inputs),
        do="give the console log, trainer_state.json or the folder that holds them",
    )


def _why_nothing(inputs: Sequence[Input]) -> str:
    if not inputs:
        return "there are no files"
    if len(inputs) == 1:
        why = f"read as {inputs[0].reader}, it says nothing" if inputs[0].reader != "none" else inputs[0].why
        return f"{inputs[0].file}: {why}"
    return f"{len(inputs)} files were looked at, none is a log, a table of metrics or a settings file"
