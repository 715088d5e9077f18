"""What a reader is, and what all readers share: the sample they look at, decoding, and plain literals.

A reader is a module of this package with three names:

- ``NAME``: what it is called in a report, such as ``"console log"``;
- ``sniff(sample) -> Match | None``: looks at the name and the first bytes, never raises, imports nothing heavy;
- ``read(sample) -> Run``: what the one file says. It raises only `holter.errors.ReadError` (nothing can be read) or
  `holter.errors.MissingExtra`; a file that is cut off or partly broken gives what can be read and a `Gap`.

Sources in the Run name the file as ``sample.shown``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from holter.errors import ReadError
from holter.patterns import regex
from holter.run import Run, Source

MAX_TEXT_BYTES = (
    256 << 20
)  # settings, scripts and notebooks, which are read whole, are far smaller; logs are not limited
HEAD_BYTES = 65536  # enough for the header of every format read here and for a screenful of any log
UNSURE, LIKELY, CERTAIN = 10, 50, 90  # scores of a Match: content only, name or content, name and content

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_TEXT_CONTROLS = b"\t\n\r\x07\x0b\x0c\x08\x1b\x00"
_OTHER_CONTROLS = bytes(b for b in range(32) if b not in _TEXT_CONTROLS)
LEAST_HOLE = bytes(64)  # longer than the NUL bytes between two characters of any encoding or two small numbers
_HOLE = re.compile(rb"\0{64,}")
_NUL_SHARE = 0.2  # UTF-16 of mostly Latin text has a NUL in nearly every second byte
_CONTROL_SHARE = 0.02  # progress bars and colours aside, text holds practically no control bytes


@dataclass(frozen=True, kw_only=True)
class Match:
    """That a reader can take a file.

    Attributes:
        score: 0 to 100; of several readers the highest wins, then the one listed first.
        why: short reason shown to the user, such as "has log_history".
    """

    score: int
    why: str


@dataclass(frozen=True)
class Sample:
    """A file before it is read.

    Attributes:
        path: where it is.
        shown: its path as told to the user, relative to the folder that was given.
        head: its first `HEAD_BYTES` bytes.
        size: its size in bytes.
    """

    path: Path
    shown: str
    head: bytes
    size: int

    @property
    def name(self) -> str:
        """The file name in lower case."""
        return self.path.name.lower()

    @property
    def suffix(self) -> str:
        """The last suffix in lower case, with its dot."""
        return self.path.suffix.lower()

    @cached_property
    def encoding(self) -> str | None:
        """The encoding of the text, None when the bytes are not text."""
        return guess_encoding(self.head)

    @cached_property
    def text(self) -> str:
        """The decoded head, empty for a binary file."""
        return "" if self.encoding is None else without_holes(self.head).decode(self.encoding, errors="replace")

    @property
    def whole(self) -> bool:
        """Whether ``head`` is the whole file."""
        return self.size <= len(self.head)

    def source(self, *, line: int | None = None, key: str | None = None, cell: int | None = None) -> Source:
        """A place in this file."""
        return Source(file=self.shown, line=line, key=key, cell=cell)

    def read_bytes(self) -> bytes:
        """All bytes of the file; raises `ReadError` when it cannot be opened or is larger than `MAX_TEXT_BYTES`."""
        if self.size > MAX_TEXT_BYTES:
            raise ReadError(
                f"could not read {self.shown}",
                where=self.shown,
                why=f"it has {self.size >> 20:,} MiB, far more than settings, scripts or notebooks have",
                do="give the log or settings file itself",
            )
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise unreadable(self.shown, error) from error

    def read_text(self) -> str:
        """All text of the file with ``\\n`` line ends; bytes that do not decode become U+FFFD."""
        data = self.read_bytes()
        encoding = guess_encoding(data[:HEAD_BYTES])
        if encoding is None:
            raise ReadError(
                f"could not read {self.shown} as text",
                where=self.shown,
                why="it holds binary data",
                do="give the log or settings file itself",
            )
        text = data.decode(encoding, errors="replace").replace("\r\n", "\n")
        return text.replace("\0", "") if "\0" in text else text


def at(place: Source, line: int, key: str | None = None) -> Source:
    """A line of the text that starts at ``place``."""
    first = (place.line or 1) - 1
    return replace(place, line=line + first if line else place.line, key=key)


class Reader(Protocol):
    """The shape of a reader module."""

    NAME: str

    def sniff(self, sample: Sample) -> Match | None:
        """Whether this reader can take the file."""

    def read(self, sample: Sample) -> Run:
        """What the file says."""


def unreadable(shown: str, error: OSError) -> ReadError:
    """The `ReadError` for a file the operating system does not hand out."""
    return ReadError(
        f"could not open {shown}",
        where=shown,
        why=(error.strerror or type(error).__name__).lower(),
        do="check that the file exists and that you may read it",
    )


def without_holes(data: bytes) -> bytes:
    """The bytes without stretches of NUL, which a crash leaves where blocks of a file were never written."""
    return _HOLE.sub(b"", data) if LEAST_HOLE in data else data


def guess_encoding(head: bytes) -> str | None:
    """The encoding of text that starts with ``head``, or None when it is not text.

    Order: byte order mark, UTF-16 by its NUL bytes, UTF-8, and Latin-1 as the encoding that accepts any byte.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    head = without_holes(head)
    if not head:
        return "utf-8"
    even, odd = head[0::2].count(0) / len(head), head[1::2].count(0) / len(head)
    if max(even, odd) > _NUL_SHARE and min(even, odd) < _NUL_SHARE / 4:
        return "utf-16-be" if even > odd else "utf-16-le"
    controls = len(head) - len(head.translate(None, _OTHER_CONTROLS))
    if controls + head.count(0) > _CONTROL_SHARE * len(head):
        return None
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        cut_inside_a_character = len(head) >= HEAD_BYTES and error.start >= len(head) - 4
        if not cut_inside_a_character:
            return "latin-1"
    return "utf-8"


_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None, "~": None}
_NUMBER = regex(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_SPELLINGS = ("nan", "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity", ".nan", ".inf", "-.inf")
NOT_FINITE = {text: float(text.replace(".", "")) for text in _SPELLINGS}
"""How files spell numbers that are not finite, in lower case, with the numbers."""


def literal(text: str) -> Any:
    """The plain value of a short text such as a command-line value: bool, None, int, float, list, dict or str.

    Nothing is evaluated: words, numbers (with ``_`` or an exponent), JSON lists and objects, quoted or bare strings.
    """
    stripped = text.strip()
    lowered = stripped.lower()
    if lowered in _WORDS:
        return _WORDS[lowered]
    if lowered in NOT_FINITE:
        return NOT_FINITE[lowered]
    if _NUMBER.fullmatch(stripped):
        digits = stripped.replace("_", "")
        return int(digits) if re.fullmatch(r"[-+]?\d{1,40}", digits) else float(digits)
    if stripped[:1] in ("[", "{"):
        try:
            return json.loads(stripped.replace("'", '"'))
        except (ValueError, RecursionError):
            return stripped
    if len(stripped) >= 2 and stripped[0] == stripped[-1] and stripped[0] in "'\"":
        return stripped[1:-1]
    return stripped
