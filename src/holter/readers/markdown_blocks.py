"""Splits Markdown into blocks: fenced code, tables and single lines, each with its headings and its lead-in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from holter.patterns import regex

_FENCE = regex(r"^\s*(?:>\s*)?(`{3,}|~{3,})\s*\{?\.?([\w+\-]*)")
_HEADING = regex(r"^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
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
    """

    kind: str
    lines: list[str]
    first: int
    language: str = ""
    headings: list[str] = field(default_factory=list)
    lead: str = ""


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a document in order."""
    lines = text.split("\n")
    headings: dict[int, str] = {}
    lead, lead_at, at = "", 0, 0
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
        else:
            if line.strip():
                yield _block("line", [line], at + 1, above, near)
                if _announces(line):
                    lead, lead_at = plain_text(line), at
            at += 1


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


_MARKUP = regex(r"\*\*|__|`|~~|<[^>]+>|!?\[([^\]]*)\]\([^)]*\)")
_SYMBOLS = regex(r"[\ufffd\u2600-\u27bf\U0001f000-\U0001faff\ufe0f\u2b00-\u2bff]+")


def plain_text(text: str) -> str:
    """Text without emphasis, code marks, links, pictographs and lost characters at its edges."""
    bare = _MARKUP.sub(lambda match: match.group(1) or "", text)
    return _SYMBOLS.sub("\ufffd", bare).strip("\ufffd \t*")


def cells(line: str) -> list[str]:
    """The cells of a table row, as plain text."""
    return [plain_text(cell) for cell in line.strip().strip("|").split("|")]
