"""The report as Markdown, in the order of a written post-mortem."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TextIO

from holter.reports.blocks import Bars, Block, Code, Edits, Item, Items, Paragraph, Plot, Section, Table, View

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")
_VERDICTS = {"fault": "Fault", "healthy": "Healthy", "undetermined": "Undetermined"}


def write(view: View, stream: TextIO) -> None:
    """Write a page."""
    stream.write("\n".join(_page(view)) + "\n")


def escape(text: str) -> str:
    """Text that Markdown shows as it is: a log line must neither format nor link anything."""
    return _SPECIAL.sub(r"\\\1", text)


def code(text: str) -> str:
    """Inline code, fenced by more backticks than the text holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _page(view: View) -> Iterator[str]:
    yield f"# {escape(view.title)}"
    yield ""
    verdict = f"{_VERDICTS[view.verdict]}: " if view.verdict else ""
    label = f" ({code(view.label)})" if view.label else ""
    yield f"**{verdict}{escape(view.headline)}**{label}"
    for line in view.summary:
        yield ""
        yield escape(line)
    for section in view.sections:
        blocks = [line for block in section.blocks for line in _block(block)]
        if blocks:
            yield from _heading(section)
            yield from blocks


def _heading(section: Section) -> Iterator[str]:
    yield ""
    yield f"## {escape(section.title)}"
    if section.lead:
        yield ""
        yield escape(f"{section.lead[0].upper()}{section.lead[1:]}.")


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Plot):
        return  # the numbers of a plot stay in the user's files; the page draws them
    yield ""
    if isinstance(block, Paragraph):
        text = _coded(block.text) if block.coded else escape(block.text)
        yield f"**{text}**" if block.strong else text
    elif isinstance(block, Items):
        yield from (_item(item, index, block.style) for index, item in enumerate(block.items, start=1))
    elif isinstance(block, Edits):
        rows = tuple((e.file, e.key, e.old, e.new) for e in block.edits)
        yield from _table(Table(columns=("file", "key", "from", "to"), rows=rows), as_code=True)
    elif isinstance(block, Bars):
        rows = tuple((b.label, b.title, b.words, f"{b.reason} {b.place}".strip()) for b in block.bars)
        yield from _table(Table(columns=("cause", "what it is", "confidence", "main reason"), rows=rows))
    elif isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Code):
        yield from _fenced(block)
    else:
        raise TypeError(f"no Markdown form for {type(block).__name__}")


def _coded(text: str) -> str:
    """Text in which every second stretch between backticks is code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return "".join(code(part) if i % 2 else escape(part) for i, part in enumerate(parts))


def _item(item: Item, index: int, style: str) -> str:
    lead = {"number": f"{index}.", "check": "- [ ]"}.get(style, "-")
    parts = [lead]
    if item.label:
        tone = f"{item.tone} " if item.tone else ""
        parts.append(f"{tone}**{escape(item.label)}**{':' if style == 'terms' else ''}")
    parts.append(escape(item.text))
    if item.place:
        parts.append(f"({code(item.place)})")
    if item.command:
        parts.append(code(item.command))
    return " ".join(part for part in parts if part)


def _table(table: Table, *, as_code: bool = False) -> Iterator[str]:
    yield f"| {' | '.join(escape(c) for c in table.columns)} |"
    yield f"|{'|'.join('---:' if i in table.numeric else '---' for i in range(len(table.columns)))}|"
    for row in table.rows:
        cells = (_cell(cell, as_code) for cell in row)
        yield f"| {' | '.join(cells)} |"


def _cell(cell: str, as_code: bool) -> str:
    line = " ".join(cell.split())
    if as_code and line and "|" not in line:
        return code(line)
    return escape(line)


def _fenced(block: Code) -> Iterator[str]:
    longest = max((len(run) for run in re.findall(r"`{3,}", block.text)), default=2)
    fence = "`" * (longest + 1)
    yield f"{fence}{block.language}"
    yield block.text.rstrip("\n")
    yield fence
