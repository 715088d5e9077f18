"""The report for a terminal: readable in 80 columns, without colour, and through a pipe."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from holter.reports.blocks import Bars, Block, Code, Edits, Item, Items, Paragraph, Plot, Section, Table, View

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

PIPE_WIDTH = 80
WIDEST = 100  # longer lines are hard to follow, however wide the window is
TONES = {"error": "bold red", "warning": "yellow", "note": "cyan", "": "bold"}
VERDICTS = {"fault": "bold white on red", "healthy": "bold black on green", "undetermined": "bold black on yellow"}
LEADS = {"check": "[ ] "}
BAR_CELLS = 20
INDENT = 2
QUIET = "dim"


def write(view: View, stream: TextIO) -> None:
    """Print a page; colours only where the stream is a terminal and ``NO_COLOR`` is not set."""
    from rich.console import Console

    is_terminal = bool(getattr(stream, "isatty", lambda: False)())
    console = Console(
        file=stream if is_terminal else io.StringIO(),
        width=None if is_terminal else PIPE_WIDTH,
        force_terminal=None if is_terminal else False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    if is_terminal:
        console.width = min(console.width, WIDEST)
    _page(console, view)
    if isinstance(console.file, io.StringIO):
        stream.write("".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines()))


def _page(console: Console, view: View) -> None:
    from rich.text import Text

    head = Text()
    if not view.verdict:
        console.print(Text(view.title, style="bold cyan"))
    else:
        head.append(f" {view.verdict.upper()} ", style=VERDICTS[view.verdict]).append("  ")
    head.append(view.headline, style="bold")
    if view.label:
        head.append(f"  {view.label}", style="bold cyan")
    console.print(head)
    for line in view.summary:
        console.print(line)
    for section in view.sections:
        _section(console, section)


def _section(console: Console, section: Section) -> None:
    from rich.text import Text

    lead = f"  {section.lead}" if section.lead else ""
    console.print()
    console.print(Text.assemble((section.title, "bold underline"), (lead, QUIET)))
    style = QUIET if section.folded else ""
    for block in section.blocks:
        for piece in _block(console, block):
            console.print(piece, style=style, soft_wrap=isinstance(piece, Text))


def _block(console: Console, block: Block) -> Iterator[RenderableType]:
    from rich.text import Text

    if isinstance(block, Paragraph):
        yield _hung(console, Text(block.text, style="bold" if block.strong else ""))
    elif isinstance(block, Items):
        for index, item in enumerate(block.items, start=1):
            lead = f"{index}. " if block.style == "number" else LEADS.get(block.style, "- ")
            yield _hung(console, _item(item, block.style), lead)
            if item.command:  # in one piece, however long: it is there to be copied
                yield Text(" " * (INDENT + len(lead)) + item.command, style="green")
    elif isinstance(block, Edits):
        yield from (_hung(console, line) for line in _edits(block))
    elif isinstance(block, Bars):
        yield from _bars(console, block)
    elif isinstance(block, Table):
        yield _table(block)
    elif isinstance(block, Code):
        yield _hung(console, Text(block.text))
    elif not isinstance(block, Plot):  # a terminal has no room for curves; the page has them
        raise TypeError(f"no terminal form for {type(block).__name__}")


def _hung(console: Console, text: Text, lead: str = "", indent: int = INDENT) -> Text:
    """The text wrapped to the width, its first line after ``lead`` and the others below the first."""
    from rich.text import Text

    margin = indent + len(lead)
    lines = text.wrap(console, max(console.width - margin, 1), overflow="fold")
    hung = Text()
    for number, line in enumerate(lines):
        line.rstrip()
        hung.append(" " * indent + lead if number == 0 else "\n" + " " * margin).append_text(line)
    return hung


def _item(item: Item, style: str) -> Text:
    from rich.text import Text

    text = Text()
    if item.label:
        label = f"{item.tone} {item.label}" if item.tone else item.label
        text.append(label, style=TONES[item.tone]).append(": " if style == "terms" else "  ")
    text.append(item.text)
    if item.place:
        text.append(f"  [{item.place}]", style="blue")
    return text


def _edits(block: Edits) -> Iterator[Text]:
    from rich.text import Text

    file = None
    for edit in block.edits:
        if edit.file != file and edit.file:
            yield Text(edit.file, style="blue")
        file = edit.file
        text = Text("  " if edit.file else "").append(f"{edit.key}: ", style="bold")
        if edit.old:
            text.append(edit.old, style="red").append(" -> ")
        yield text.append(edit.new, style="green")


def _bars(console: Console, block: Bars) -> Iterator[Text]:
    from rich.text import Text

    widest = max(len(bar.label) for bar in block.bars)
    for bar in block.bars:
        full = round(bar.share * BAR_CELLS)
        shape = f"  {'#' * full}{'.' * (BAR_CELLS - full)}  {bar.words}"
        yield _hung(console, Text().append(bar.label.ljust(widest), style="bold").append(shape))
        if bar.reason:
            place = f"  [{bar.place}]" if bar.place else ""
            yield _hung(console, Text(bar.reason).append(place, style="blue"), indent=3 * INDENT)


def _table(block: Table) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.padding import Padding
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for index, column in enumerate(block.columns):
        grid.add_column(column, justify="right" if index in block.numeric else "left", overflow="fold")
    for row in block.rows:
        grid.add_row(*(Text(cell) for cell in row))
    return Padding(grid, (0, 0, 0, INDENT))
