"""Code, commands and output that somebody pasted into a text without a fence around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from textwrap import dedent

from holter.patterns import regex
from holter.readers.fenced import LONGEST, is_log_line, kind_of
from holter.readers.markdown_blocks import Block

PASTED = "pasted"
"""The kind of a block without a fence. Its language is what it looks like; its lines keep their indentation."""

BULLET = regex(r"^\s*(?:[-*+\u2022]|\(?\d+[.)])\s+(?=\S)")
_INDENTED = regex(r"^(?: {4}|\t)")
_COMMAND = regex(
    r"^\s*(?:\$ \S|(?:[A-Z_]+=\S+ +)*(?:python3?|torchrun|deepspeed|accelerate launch|srun)\b.*(?:\.py\b| -m |--\w))"
)
_ONE_PAIR = regex(
    r"^\s*(?:[-*+\u2022]\s+)?[A-Za-z][^:=|{}\[\],]*[:=]\s*\**(?:[-+<>~]?[\d.][\w.+\-%]*|nan|inf)\**\s*$", re.I
)
"""A quantity and its number, with nothing else: ``loss at step 100: nan``."""

PLACED_VALUE = (
    r"(?P<value>-?\d[\d.]*(?:e[-+]?\d+)?|nan|inf) (?:at|after|in|@) ?(?P<unit>epoch|step|iteration)s? ?(?P<at>\d+)"
)
_VALUE_AT = PLACED_VALUE.replace("?P<value>", "?:").replace("?P<unit>", "?:").replace("?P<at>", "?:")
PLACED = regex(rf"{_VALUE_AT}(?:(?:,| and|, and|;) {_VALUE_AT})*\.?", re.I)
"""Values with their places: ``0.45 after epoch 1, 0.61 after epoch 2``."""

_ROW = regex(
    r"^[^=:|\t]{0,40}[=:]\s?-?(?:\d|nan\b|inf\b).{0,80}?[\s,;|(][A-Za-z_][\w/.()\-]*\s?[=:]\s?-?(?:\d|nan\b|inf\b)"
    r"|^[^\t]*\t[^\t]*\t|^.*?\|.*?(?:\s\|\s|\|\s*$)"
    r"|^(?=[^,;\s]*[,;\s]+[\[({\s]*(?:-?\d|nan|inf))[\s\[({]*-?\d(?:[\d.e+\-\s,;\[\](){}]|nan|inf)*$",
    re.I,
)
"""Several pairs of a name and a number, cells of a table, or numbers alone: no line that a person writes."""


def set_apart(found: Iterable[Block], text: str) -> Iterator[Block]:
    """The blocks of a document; lines that are no text become blocks of code with the same headings and lead-in.

    Args:
        found: the blocks.
        text: the whole document, of which blank lines and comments between two pieces of code are code, too.
    """
    waiting: Block | None = None
    lines = text.split("\n")
    for block in _apart(found):
        if waiting is not None and (between := _between(waiting, block, lines)) is not None:
            waiting.lines.extend((*between, *block.lines))
            continue
        if waiting is not None:
            yield _with_comments(waiting, lines)
        waiting = block if block.kind == PASTED else None
        if waiting is None:
            yield block
    if waiting is not None:
        yield _with_comments(waiting, lines)


def _between(above: Block, below: Block, lines: Sequence[str]) -> Sequence[str] | None:
    """The lines between two pieces of the same thing, blank ones and comments; None where they are none."""
    between = lines[above.first - 1 + len(above.lines) : below.first - 1]
    if below.kind != PASTED or above.language != below.language:
        return None
    return between if all(not line.strip() or line.lstrip().startswith("#") for line in between) else None


def _with_comments(block: Block, lines: Sequence[str]) -> Block:
    """Code with the comments right above and below it, which Markdown takes for headings."""
    start, end = block.first - 1, block.first - 1 + len(block.lines)
    if block.language != "python":
        return block
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    while end < len(lines) and lines[end].lstrip().startswith("#"):
        end += 1
    above, below = lines[start : block.first - 1], lines[block.first - 1 + len(block.lines) : end]
    return replace(block, lines=[*above, *block.lines, *below], first=start + 1)


def _apart(found: Iterable[Block]) -> Iterator[Block]:
    paragraph: list[Block] = []
    for block in found:
        if paragraph and (block.kind != "line" or block.first != paragraph[-1].first + 1):
            yield from _parts(paragraph)
            paragraph = []
        if block.kind == "line":
            paragraph.append(block)
        else:
            yield block
    yield from _parts(paragraph)


def _parts(paragraph: Sequence[Block]) -> Iterator[Block]:
    if not paragraph:
        return
    lines = [block.lines[0] for block in paragraph]
    entries = any(map(BULLET.match, lines))
    if not entries and (all(map(_INDENTED.match, lines)) or kind_of("\n".join(lines), "") == "python"):
        yield _code(paragraph, lines)
    else:
        yield from _of_text(paragraph, lines)


def _of_text(paragraph: Sequence[Block], lines: Sequence[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        end = _end_of_command(lines, at) if _COMMAND.match(lines[at]) else _end_of_output(lines, at)
        if end == at:
            yield paragraph[at]
            end = at + 1
        else:
            yield _code(paragraph[at:end], [BULLET.sub("", line) for line in lines[at:end]])
        at = end


def _end_of_command(lines: Sequence[str], start: int) -> int:
    at = start
    while at < len(lines) and lines[at].rstrip().endswith("\\"):
        at += 1
    return min(at + 1, len(lines))


def _end_of_output(lines: Sequence[str], start: int) -> int:
    """Where the lines that a program printed end: behind the last of them in this paragraph; the start for text."""
    end = start
    for at in range(start, len(lines)):
        if _is_printed(lines[at]) or (at == end > start and lines[at][:1].isspace() and not BULLET.match(lines[at])):
            end = at + 1
        elif end == start or BULLET.match(lines[at]) or _ONE_PAIR.match(lines[at]):
            break
    return end


def _is_printed(line: str) -> bool:
    if len(line) > LONGEST:
        return False
    bare = BULLET.sub("", line)
    if _ONE_PAIR.match(line) is not None or PLACED.fullmatch(re.split(r"[:=]", bare)[-1].strip()) is not None:
        return False
    return _ROW.match(bare) is not None or is_log_line(bare)


def _code(paragraph: Sequence[Block], lines: Sequence[str]) -> Block:
    return replace(paragraph[0], kind=PASTED, lines=list(lines), language=kind_of(dedent("\n".join(lines)), ""))
