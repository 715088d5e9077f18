"""Offline files of Weights & Biases (``run-*.wandb``), read without its library.

A file is seven bytes of header (``:W&B``, two of magic, a version) and blocks of 32 KiB in the log format of LevelDB:
a record has a checksum (4 bytes), a length (2), a kind (1: whole, first, middle or last part) and its bytes. Joined,
they are one ``Record`` message each: field 2 history, 4 and 13 console output, 5 configuration, 17 the run.
Source: ``wandb_internal.proto`` of the wandb package and ``doc/log_format.md`` of LevelDB.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from holter.names import config_name
from holter.readers.base import CERTAIN, Match, Sample
from holter.readers.console_log import read_lines
from holter.readers.merge import absorb
from holter.readers.protobuf import fields, signed
from holter.readers.rows import Rows
from holter.readers.slices import raw_bytes
from holter.run import NAN, Authority, Gap, Run, Value

NAME = "W&B offline"

_MAGIC = b":W&B"
_FILE_HEADER, _HEADER, _BLOCK = 7, 7, 32768
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_HISTORY, _OUTPUT, _CONFIG, _OUTPUT_RAW, _RUN = 2, 4, 5, 13, 17
_ITEM, _STEP, _LINE, _RUN_CONFIG = 1, 2, 3, 4


def sniff(sample: Sample) -> Match | None:
    """The header of a W&B file, or its suffix."""
    if sample.head.startswith(_MAGIC):
        return Match(score=CERTAIN, why="has the header of a W&B file")
    return Match(score=CERTAIN, why="named like a W&B file") if sample.suffix == ".wandb" else None


def read(sample: Sample) -> Run:
    """History as series, configuration as settings, console output as a log; a file cut off gives a `Gap`."""
    run, rows, printed = Run(), Rows(sample.shown, key="history"), list[str]()
    number = 0
    try:
        with raw_bytes(sample) as data:
            for number, message in enumerate(_records(data), start=1):
                _record(sample, message, number, rows, run, printed)
    except ValueError as error:
        gap = Gap(source=sample.source(line=number + 1), what=f"records after the first {number}", why=str(error))
        run.gaps.append(gap)
    rows.fill(run)
    if printed:
        log = read_lines(enumerate("".join(printed).split("\n"), start=1), sample.shown)
        absorb(run, log)
        run.other_series.extend((*log.series.values(), *log.other_series))
    return run


def _records(data: bytes) -> Iterator[bytes]:
    if data[:4] != _MAGIC:
        raise ValueError("the file does not start as a W&B file does")
    at, parts = _FILE_HEADER, list[bytes]()
    while at < len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:
            at += left
            continue
        header = data[at : at + _HEADER]
        if len(header) == _HEADER and header.count(0) == _HEADER:
            at += left
            continue
        size, kind = struct.unpack("<4xHB", header) if len(header) == _HEADER else (_BLOCK, 0)
        piece = data[at + _HEADER : at + _HEADER + size]
        if len(piece) < size or kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST):
            raise ValueError("the file is cut off or damaged here; the run may still be writing")
        parts = [piece] if kind in (_WHOLE, _FIRST) else [*parts, piece]
        at += _HEADER + size
        if kind in (_WHOLE, _LAST):
            yield b"".join(parts)
    if parts and kind in (_FIRST, _MIDDLE):
        raise ValueError("the file ends inside a record; the run may still be writing")


def _record(sample: Sample, message: bytes, number: int, rows: Rows, run: Run, printed: list[str]) -> None:
    for field, value in fields(message):
        if not isinstance(value, bytes):
            continue
        if field == _HISTORY:
            row, step = _history(value)
            rows.add(row, number, step=step)
        elif field == _CONFIG:
            _config(sample, value, run)
        elif field == _RUN:
            for inner, config in fields(value):
                if inner == _RUN_CONFIG and isinstance(config, bytes):
                    _config(sample, config, run)
        elif field in (_OUTPUT, _OUTPUT_RAW):
            printed.extend(_text(line) for inner, line in fields(value) if inner == _LINE and isinstance(line, bytes))


def _history(message: bytes) -> tuple[dict[str, Any], float]:
    row, step = dict[str, Any](), NAN
    for field, value in fields(message):
        if field == _ITEM and isinstance(value, bytes):
            key, found = _item(value)
            row[key] = found
        elif field == _STEP and isinstance(value, bytes):
            step = next((float(signed(n)) for inner, n in fields(value) if inner == 1 and isinstance(n, int)), 0.0)
    return row, step


def _config(sample: Sample, message: bytes, run: Run) -> None:
    for field, update in fields(message):
        if field == 1 and isinstance(update, bytes):
            _setting(sample, *_item(update), run)


def _item(message: bytes) -> tuple[str, Any]:
    """Key and value of a history or configuration item."""
    parts = list[str]()
    found: Any = None
    for field, value in fields(message):
        if field in (1, 2) and isinstance(value, bytes):
            parts.append(_text(value))
        elif field == 5 and isinstance(value, int):
            found = value >> 1 ^ -(value & 1)
        elif field == 6:
            found = value
        elif field == 7 and isinstance(value, bytes):
            found = _text(value)
        elif field in (8, 16) and isinstance(value, bytes):
            found = _json(value)
    return "/".join(parts), found


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _setting(sample: Sample, key: str, value: Any, run: Run) -> None:
    if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"}:
        value = value["value"]
    if isinstance(value, dict):
        for inner, item in value.items():
            _setting(sample, f"{key}.{inner}", item, run)
        return
    name = config_name(key)
    if name is not None and value is not None:
        source = sample.source(key=key)
        run.add_setting(name, Value(value=value, source=source, raw=str(value), authority=Authority.RECORDED))
