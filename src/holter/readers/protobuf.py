"""The wire format of protocol buffers, as far as event files need it."""

from __future__ import annotations

import struct
from collections.abc import Iterator


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Fields of a protocol buffer: varints as int, 4 and 8 byte fields as float, the rest as bytes.

    Raises:
        ValueError: the bytes are not a message.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), at)
        if size < 0 or at + size > len(message):
            raise ValueError(f"wire type {kind} at byte {at}")
        piece = message[at : at + size]
        at += size
        yield key >> 3, piece if kind == 2 else struct.unpack("<d" if kind == 1 else "<f", piece)[0]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise ValueError(f"unfinished number at byte {at}")


def signed(number: int) -> int:
    """A 64-bit varint as the signed number it stands for."""
    return number if number < 1 << 63 else number - (1 << 64)
