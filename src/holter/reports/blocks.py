"""What a page is made of: plain data that every writer can format. Nothing here knows a format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Running text.

    Attributes:
        text: in plain words.
        strong: the one sentence of a section that must not be missed.
        coded: whether backticks in it mark code. False for anything that quotes what was read.
    """

    text: str
    strong: bool = False
    coded: bool = False


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of a list.

    Attributes:
        text: in plain words.
        place: file and line it comes from, empty when it comes from none.
        label: a code, a cause or a word put in front.
        tone: ``error``, ``warning``, ``note`` or empty; colours the label, never carries the meaning alone.
        command: what to type, empty when there is nothing to type.
    """

    text: str
    place: str = ""
    label: str = ""
    tone: str = ""
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Items:
    """A list. ``style``: ``bullet``, ``number``, ``check`` (boxes to tick) or ``terms`` (label, then text)."""

    items: tuple[Item, ...]
    style: str = "bullet"


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One change of one setting, as text: ``file`` is empty when no file holds the key yet."""

    key: str
    new: str
    old: str = ""
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class Edits:
    """Changes to make, in order."""

    edits: tuple[Edit, ...]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One suspect with a share in [0, 1], the share in words, and the main reason with its place."""

    label: str
    title: str
    share: float
    words: str
    reason: str = ""
    place: str = ""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Suspects side by side."""

    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of plain text. ``numeric`` holds the indices of columns that are set flush right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text to be shown exactly as it is, such as a command or a diff."""

    text: str
    language: str = ""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One quantity: ``xs`` and ``ys`` of equal length, NaN and infinities kept."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """A horizontal line to compare with."""

    value: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A vertical line at a place of interest."""

    x: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Curves over one axis. ``x_name`` is ``step``, ``epoch`` or ``log entry``."""

    title: str
    curves: tuple[Curve, ...]
    yardsticks: tuple[Yardstick, ...] = ()
    marks: tuple[Mark, ...] = ()
    x_name: str = "step"
    note: str = ""


Block: TypeAlias = Paragraph | Items | Edits | Bars | Table | Code | Plot


@dataclass(frozen=True, kw_only=True)
class Section:
    """A titled part of a page.

    Attributes:
        key: stable, for anchors and for the order (``evidence``, ``fix``, ...).
        title: as printed.
        blocks: its contents; a section without blocks is left out.
        folded: whether a page that can fold shows only its title and ``lead`` at first.
        lead: one line that stands for the whole section where it is folded.
    """

    key: str
    title: str
    blocks: tuple[Block, ...]
    folded: bool = False
    lead: str = ""


@dataclass(frozen=True, kw_only=True)
class View:
    """A whole page.

    Attributes:
        title: of the page.
        verdict: ``fault``, ``healthy``, ``undetermined``, or empty for a page that judges nothing.
        headline: the answer in one sentence.
        summary: what stands right below it, one sentence each.
        label: short name of the answer (the label of the first cause), empty when there is none.
        sections: in the order of the form they were built for.
    """

    title: str
    headline: str
    verdict: str = ""
    summary: tuple[str, ...] = ()
    label: str = ""
    sections: tuple[Section, ...] = ()
