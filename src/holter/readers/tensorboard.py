"""TensorBoard event files, read without TensorBoard.

A file is a chain of records: length (8 bytes, little endian), its masked CRC-32C (4), the bytes, their checksum (4).
Each holds one ``Event`` message of protocol buffers: field 2 is the step, field 5 the summary; a summary value has its
tag in field 1, a plain number in field 2 and a tensor in field 8. Source: ``record_writer.cc``, ``event.proto``,
``summary.proto`` and ``tensor.proto`` of TensorFlow.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from holter.names import config_name
from holter.readers.base import CERTAIN, Match, Sample
from holter.readers.protobuf import fields, signed
from holter.readers.rows import Rows
from holter.readers.slices import raw_bytes
from holter.run import Authority, Gap, Run, Value

NAME = "TensorBoard events"
_POLYNOMIAL = 0x82F63B78  # of CRC-32C, reflected
_MASK = 0xA282EAD8  # added to the rotated checksum by the record format
_SETTINGS_TAGS = ("args", "model_config", "config", "hparams")
_FLOATS = {1: "<f", 2: "<d"}  # TensorProto types DT_FLOAT and DT_DOUBLE


def sniff(sample: Sample) -> Match | None:
    """The name TensorBoard gives its files, or a first record with a right checksum."""
    if "tfevents" in sample.name:
        return Match(score=CERTAIN, why="named like a TensorBoard event file")
    if sample.encoding is None and len(sample.head) >= 16 and _length(sample.head, 0) is not None:
        return Match(score=CERTAIN, why="starts with a TensorBoard record")
    return None


def read(sample: Sample) -> Run:
    """Scalars as series by their tags, and the arguments the Trainer stores as text as settings."""
    run, rows = Run(), Rows(sample.shown)
    with raw_bytes(sample) as data:
        number, at = 0, 0
        while at < len(data):
            size = _length(data, at)
            if size is None or at + 16 + size > len(data):
                run.gaps.append(_cut(sample, number, size is None))
                break
            number += 1
            try:
                _event(sample, data[at + 12 : at + 12 + size], number, rows, run)
            except (ValueError, struct.error):
                run.gaps.append(Gap(source=sample.source(line=number), what=f"record {number}", why="it is damaged"))
            at += 16 + size
    rows.fill(run)
    return run


def _event(sample: Sample, message: bytes, number: int, rows: Rows, run: Run) -> None:
    step, summaries = 0, []
    for field, value in fields(message):
        if field == 2 and isinstance(value, int):
            step = signed(value)
        elif field == 5 and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for field, value in fields(summary):
            if field == 1 and isinstance(value, bytes):
                _value(sample, value, number, step, rows, run)


def _value(sample: Sample, message: bytes, number: int, step: int, rows: Rows, run: Run) -> None:
    tag, scalar, text = "", None, b""
    for field, value in fields(message):
        if field == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", errors="replace")
        elif field == 2 and isinstance(value, float):
            scalar = value
        elif field == 8 and isinstance(value, bytes):
            scalar, text = _tensor(value)
    if scalar is not None:
        rows.add({tag: scalar}, number, step=float(step))
    elif text and tag.split("/")[0] in _SETTINGS_TAGS:
        _settings(sample, tag, text, run)


def _tensor(message: bytes) -> tuple[float | None, bytes]:
    """The only number of a scalar tensor, and the first string of a text tensor."""
    kind, scalar, text = 0, None, b""
    for field, value in fields(message):
        if field == 1 and isinstance(value, int):
            kind = value
        elif field == 4 and isinstance(value, bytes) and kind in _FLOATS:
            form = _FLOATS[kind]
            scalar = struct.unpack(form, value)[0] if len(value) == struct.calcsize(form) else None
        elif field in (5, 6):
            form = _FLOATS[field - 4]
            if isinstance(value, float):
                scalar = value
            elif isinstance(value, bytes) and len(value) == struct.calcsize(form):
                scalar = struct.unpack(form, value)[0]
        elif field == 8 and isinstance(value, bytes):
            text = text or value
    return scalar, text


def _settings(sample: Sample, tag: str, text: bytes, run: Run) -> None:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return
    for key, value in found.items() if isinstance(found, dict) else ():
        name = config_name(key)
        if name is not None and value is not None and not isinstance(value, dict):
            source = sample.source(key=f"{tag}.{key}")
            run.add_setting(name, Value(value=value, source=source, raw=str(value), authority=Authority.RECORDED))


def _length(data: bytes, at: int) -> int | None:
    """The length of the record at ``at``, None when its checksum is wrong."""
    head = data[at : at + 12]
    if len(head) < 12:
        return None
    size, checksum = struct.unpack("<QI", head)
    return size if _masked(head[:8]) == checksum else None


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_CRC = _table()


def _masked(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + _MASK) & 0xFFFFFFFF


def _cut(sample: Sample, number: int, damaged: bool) -> Gap:
    why = "its length or checksum is wrong" if damaged else "the file ends inside it; the run may still be writing"
    return Gap(source=sample.source(line=number + 1), what=f"everything from record {number + 1} on", why=why)
