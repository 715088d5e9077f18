"""Splits console output into lines: decoding, carriage returns, colour codes, and the prefixes that launchers add."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from holter.errors import ReadError
from holter.patterns import regex
from holter.readers.base import HEAD_BYTES, Sample, guess_encoding, unreadable, without_holes
from holter.run import Gap

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 4 << 20  # longest line a person or a tool prints on purpose; the rest of a longer one is left out
MAX_SEGMENT = 20_000  # characters of one message looked at; longer ones are dumps of data

_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b\r\n]*(?:\x07|\x1b\\)|[@-_])")
_CONTROLS = b"\x08\x00"
_ANSI = regex(rf"{_ESCAPES.pattern.decode()}|[\x08\x00]")
_LEVEL = r"(?:DEBUG|INFO|NOTICE|WARNING|WARN|ERROR|CRITICAL|FATAL)"
_CLOCK = r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
_PREFIXES = regex(
    "|".join(
        (
            r"\s*\[(?:default|rank|RANK|Rank)[ :]?(?P<bracket>\d{1,6})\]\s*:?\s*",
            r"\s*(?:rank|Rank|RANK)[ :]?(?P<word>\d{1,6})\s*[:|]\s+",
            r"\s*(?P<bare>\d{1,3}):\s+(?!(?:nan|inf)\b)(?=[\[{'(A-Za-z|*])",
            r"\s*\((?:[\w. ]*\bpid=\d+[^)]*)\)\s*",
            rf"\s*\[?{_CLOCK}\]?(?:\s*[-|:]+)?\s*",
            r"\s*\[\d\d:\d\d:\d\d\]\s+",
            r"\s*[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ [\w./-]+:\d+\]\s?",
            r"\s*\d\d/\d\d/\d{2,4} \d\d:\d\d:\d\d(?:[.,]\d+)?(?:\s*[-|:]+)?\s*",
            rf"\s*\[{_LEVEL}\|[^\]]*\]\s*(?:{_CLOCK})?\s*(?:>>)?\s*",
            rf"\s*\[{_LEVEL}\]\s*",
            r"\s*\[[\w./-]+\.py:\d+(?::\w+)?\]\s*",
            r"\s*\[(?:deepspeed|axolotl[\w.]*|accelerate|PID:\d+|RANK:(?P<axolotl>\d{1,6})|stdout|stderr)\]\s*",
            r"\s*(?:INFO|DEBUG)(?::[\w.]+:|\s+[-|:]+|\s+)\s*(?:[\w.]+\.[\w.]+|__main__|(?!(?i:epoch|step|iter))\w+)?"
            r"\s*(?:[-|:]+\s+|(?=[{\[]))",
            r"\s*(?:std(?:out|err)|logs?)\s*[:|]\s+",
            r"\s*(?:>>>|>>|\$|#)\s+",
        )
    )
)
_MAX_PREFIXES = 6


@dataclass(slots=True)
class Line:
    """One message.

    Attributes:
        number: 1-based line of the file.
        text: as written, without colours and control codes.
        body: the text without launcher prefixes.
        rank: the process that printed it, None where it does not say.
    """

    number: int
    text: str
    body: str
    rank: int | None = None


def clean(number: int, text: str) -> Line:
    """A raw segment without colours, and its body without prefixes."""
    if len(text) > MAX_SEGMENT:
        text = text[:MAX_SEGMENT]
    if "\x1b" in text or "\x08" in text or "\x00" in text:
        text = _ANSI.sub("", text)
    text = text.rstrip()
    at, rank = prefix(text)
    return Line(number, text, text[at:], None if rank is None else int(text[slice(*rank)]))


def prefix(text: str) -> tuple[int, tuple[int, int] | None]:
    """How long all that launchers put before a line is, and from where to where in it the process number stands."""
    at, rank = 0, None
    if text[:1] not in ("{", ""):
        for _ in range(_MAX_PREFIXES):
            match = _PREFIXES.match(text, at)
            if match is None or match.end() == at:
                break
            at = match.end()
            if match.lastgroup is not None:
                rank = match.span(match.lastgroup)
    return at, rank


def uncoloured(block: bytes) -> bytes:
    """Lines without colours and control codes."""
    if b"\x1b" in block:
        block = _ESCAPES.sub(b"", block)
    return block.translate(None, _CONTROLS) if any(bytes([code]) in block for code in _CONTROLS) else block


@dataclass
class Chunks:
    """Reads a log in chunks of whole lines.

    Attributes:
        gaps: what had to be left out.
    """

    sample: Sample
    gaps: list[Gap] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Pairs of the number of the first line and a block of whole lines in UTF-8 (or ASCII-compatible) bytes."""
        encoding = guess_encoding(self.sample.head[:HEAD_BYTES])
        if encoding is None:
            raise ReadError(
                f"could not read {self.sample.shown} as a log", where=self.sample.shown, why="it holds binary data"
            )
        if encoding.startswith("utf-16"):
            yield from _split(self.sample.read_text().encode("utf-8", errors="replace"))
            return
        number, tail = 1, b""
        for block in self._blocks():
            data = tail + block if tail else block
            if number == 1 and not tail:
                data = data.removeprefix(b"\xef\xbb\xbf")
            cut = data.rfind(b"\n") + 1
            if not cut and len(data) > MAX_LINE_BYTES:
                cut, data = self._shorten(data, number)
            if cut:
                yield number, data[:cut]
                number += data.count(b"\n", 0, cut)
            tail = data[cut:]
        if tail:
            yield number, tail

    def _blocks(self) -> Iterator[bytes]:
        holes = 0
        try:
            with self.sample.path.open("rb") as stream:
                while block := stream.read(CHUNK_BYTES):
                    whole = without_holes(block)
                    holes += len(block) - len(whole)
                    yield whole
        except OSError as error:
            raise unreadable(self.sample.shown, error) from error
        if holes:
            why = "parts of the file were never written, as after a crash of the machine or on a full disk"
            self.gaps.append(Gap(source=self.sample.source(), what=f"{holes:,} bytes that are all zero", why=why))

    def _shorten(self, data: bytes, number: int) -> tuple[int, bytes]:
        cut = data.rfind(b"\r") + 1
        if cut:
            return cut, data
        if not any(gap.source.line == number for gap in self.gaps):
            what = f"the part of line {number} after {MAX_LINE_BYTES >> 20} MiB"
            self.gaps.append(Gap(source=self.sample.source(line=number), what=what, why="no log line is that long"))
        return 0, data[:MAX_LINE_BYTES]


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    number, at = 1, 0
    while at < len(data):
        cut = data.find(b"\n", at + CHUNK_BYTES) + 1 or len(data)
        yield number, data[at:cut]
        number += data.count(b"\n", at, cut)
        at = cut


def decode(text: bytes) -> str:
    """Text of a line or a part of one: UTF-8, or Latin-1 where it is not."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def parts(first: int, block: bytes) -> tuple[Sequence[int], list[bytes]]:
    """The lines of a block, those overwritten with carriage returns each on their own: their numbers and texts."""
    lines = block.removesuffix(b"\n").split(b"\n")
    if b"\r" not in block and all(lines):
        return range(first, first + len(lines)), lines
    numbers, texts = list[int](), list[bytes]()
    for number, line in enumerate(lines, first):
        for part in line.split(b"\r"):
            if part:
                numbers.append(number)
                texts.append(part)
    return numbers, texts


def segments(first: int, text: str) -> Iterator[tuple[int, str]]:
    """The same for text."""
    lines = enumerate(text.split("\n"), first)
    return ((number, part) for number, line in lines for part in line.split("\r") if part)
