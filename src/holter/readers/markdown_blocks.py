"""Splits Markdown into blocks: fenced code, tables and single lines, each with its headings and its lead-in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from holter.patterns import regex

_FENCE = regex(r"^\s*(?:>\s*)?(`{3,}|~{3,})\s*\{?\.?([\w+\-]*)")
_HEADING = regex(r"^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_HTML_TABLE = regex(r"<table\b", re.I)
_ITEM = regex(r"^\s*(?:[-*+\u2022]|\(?\d{1,2}[.)])\s+[^:=]{1,60}[:=]")
_TABLE_RULE = regex(r"^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$")
LEAD_DISTANCE = 2  # lines between a lead-in such as "**Before**:" and the block it announces


@dataclass(kw_only=True)
class Block:
    """A stretch of a document.

    Attributes:
        kind: ``code``, ``table`` or ``line``.
        lines: its lines, without fences.
        first: 1-based line of the first of them.
        language: of a fenced block.
        headings: above it, outermost first.
        lead: the line that announces it, empty when none does.
        numbers: lines of the document, one for each of ``lines``, where they are not next to each other.
    """

    kind: str
    lines: list[str]
    first: int
    language: str = ""
    headings: list[str] = field(default_factory=list)
    lead: str = ""
    numbers: list[int] = field(default_factory=list)

    def line_of(self, at: int) -> int:
        """The line of the document that ``lines[at]`` stands in."""
        return self.numbers[at] if self.numbers else self.first + at


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a document in order."""
    lines = text.split("\n")
    headings: dict[int, str] = {}
    lead, lead_at, at, looked_at = "", 0, 0, 0
    while at < len(lines):
        line = lines[at]
        if match := _HEADING.match(line):
            level = len(match.group(1))
            headings = {depth: title for depth, title in headings.items() if depth < level}
            headings[level] = plain_text(match.group(2))
            lead, at = "", at + 1
            continue
        above = [headings[depth] for depth in sorted(headings)]
        near = lead if at - lead_at <= LEAD_DISTANCE else ""
        if match := _FENCE.match(line):
            end = _fence_end(lines, at, match.group(1))
            yield _block("code", lines[at + 1 : end], at + 2, above, near, match.group(2))
            at = end + 1
        elif "|" in line and at + 1 < len(lines) and _TABLE_RULE.match(lines[at + 1]):
            end = at + 2
            while end < len(lines) and "|" in lines[end]:
                end += 1
            yield _block("table", lines[at:end], at + 1, above, near)
            at = end
        elif at >= looked_at and (found := _other_table(lines, at, above, near)) is not None:
            block, looked_at = found
            if block is not None:
                yield block
                at = looked_at
        else:
            if line.strip():
                yield _block("line", [line], at + 1, above, near)
                if _announces(line):
                    lead, lead_at = plain_text(line), at
            at += 1


def _other_table(lines: list[str], at: int, above: list[str], near: str) -> tuple[Block | None, int] | None:
    """A table that is not written in Markdown, and where it ends: one in HTML, or a list of runs.

    The block is None where what starts here is no such table up to its end; all is None where nothing starts.
    """
    if _HTML_TABLE.search(lines[at]):
        return _html_table(lines, at, above, near)
    if _ITEM.match(lines[at]) is None:
        return None
    from holter.readers.listed_runs import listed_table
    from holter.readers.side_by_side import is_of_runs

    rows, end = listed_table(lines, at, called=any(map(is_of_runs, (near, *above[-1:]))))
    return (_as_table(rows, [at + 1, *range(at + 1, end + 1)], above, near) if rows else None), end


def _as_table(rows: list[list[str]], numbers: list[int], above: list[str], near: str) -> Block:
    """Rows as a block like any other table; ``numbers`` are the lines of the header and of the rows."""
    texts = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    block = _block("table", [texts[0], "|---|", *texts[1:]], numbers[0], above, near)
    block.numbers = [numbers[0], *numbers]
    return block


def _html_table(lines: list[str], first: int, above: list[str], near: str) -> tuple[Block | None, int]:
    """A table that is written in HTML as a block like any other, and where it ends; None for one that lays out text."""
    from holter.readers.html_tables import tables

    end = next((at + 1 for at in range(first, len(lines)) if "</table" in lines[at].lower()), len(lines))
    found = tables("\n".join(lines[first:end]))
    rows = found[0] if len(found) == 1 else []
    if len(rows) < 2 or len({len(row) for _, row in rows}) > 1 or len(rows[0][1]) < 2:
        return None, end
    return _as_table([row for _, row in rows], [first + line for line, _ in rows], above, near), end


def _block(kind: str, lines: list[str], first: int, headings: list[str], lead: str, language: str = "") -> Block:
    return Block(kind=kind, lines=lines, first=first, language=language, headings=headings, lead=lead)


def _fence_end(lines: list[str], start: int, fence: str) -> int:
    for at in range(start + 1, len(lines)):
        stripped = lines[at].strip().lstrip("> ")
        if stripped.startswith(fence) and not stripped.strip(fence[0]):
            return at
    return len(lines)


def _announces(line: str) -> bool:
    """Whether a line leads in what follows: it ends in a colon, or it is all bold."""
    stripped = line.strip()
    return stripped.endswith((":", ":**", "：")) or (stripped.startswith("**") and stripped.endswith("**"))


_TAGS = (
    "a|b|i|em|strong|br|hr|p|img|sub|sup|span|div|code|pre|kbd|details|summary|font|del|ins|center|small|big|h[1-6]|ul|ol|"
    "li|table|thead|tbody|tr|td|th|picture|source|video|blockquote|!--.*?--"
)
"""Tags of HTML; ``<pad>`` and ``<|im_end|>`` are tokens, and so are most ``<s>``."""

_MARKUP = regex(rf"\*\*|__|`|~~|</?(?:{_TAGS})(?:\s[^>]*)?/?>|!?\[([^\]]*)\]\([^)]*\)", re.I)
_SYMBOLS = regex(r"[\ufffd\u2600-\u27bf\U0001f000-\U0001faff\ufe0f\u2b00-\u2bff]+")


def plain_text(text: str) -> str:
    """Text without emphasis, code marks, links, pictographs and lost characters at its edges."""
    bare = _MARKUP.sub(lambda match: match.group(1) or "", text)
    return _SYMBOLS.sub("\ufffd", bare).strip("\ufffd \t*")


_MARKS = dict.fromkeys("\u2705\u2714\u2713\u2611", "yes") | dict.fromkeys("\u274c\u2717\u2718\u2716", "no")
_PIPE = regex(r"(?<!\\)\|")


def cells(line: str) -> list[str]:
    """The cells of a table row, as plain text; a tick alone says yes, a cross no."""
    row = line.strip()
    row = row[1:] if row.startswith("|") else row
    row = row[:-1] if row.endswith("|") and not row.endswith("\\|") else row
    return [
        _MARKS.get(cell.strip().rstrip("\ufe0f"), "") or plain_text(cell.replace("\\|", "|"))
        for cell in _PIPE.split(row)
    ]
