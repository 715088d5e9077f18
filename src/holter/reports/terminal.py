"""The report for a terminal: readable in 80 columns, without colour, and through a pipe."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from holter.reports.blocks import Bars, Block, Code, Edits, Item, Items, Paragraph, Plot, Section, Table, View

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

PIPE_WIDTH = 80
WIDEST = 100  # longer lines are hard to follow, however wide the window is
TONES = {"error": "bold red", "warning": "yellow", "note": "cyan", "": "bold"}
VERDICTS = {"fault": "bold white on red", "healthy": "bold black on green", "undetermined": "bold black on yellow"}
BAR_CELLS = 20
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
    from rich.padding import Padding
    from rich.text import Text

    console.print()
    lead = f"  {section.lead}" if section.lead else ""
    console.print(Text.assemble((section.title, "bold underline"), (lead, QUIET)))
    for block in section.blocks:
        style = QUIET if section.folded else ""
        for line in _block(block):
            console.print(Padding(line, (0, 0, 0, 2)), style=style)


def _block(block: Block) -> Sequence[RenderableType]:
    from rich.text import Text

    if isinstance(block, Paragraph):
        return [Text(block.text, style="bold" if block.strong else "")]
    if isinstance(block, Items):
        return [_item(item, index, block.style) for index, item in enumerate(block.items, start=1)]
    if isinstance(block, Edits):
        return _edits(block)
    if isinstance(block, Bars):
        return _bars(block)
    if isinstance(block, Table):
        return [_table(block)]
    if isinstance(block, Code):
        return [Text(block.text)]
    if isinstance(block, Plot):
        return []  # a terminal has no room for curves; the page has them
    raise TypeError(f"no terminal form for {type(block).__name__}")


def _item(item: Item, index: int, style: str) -> RenderableType:
    from rich.table import Table as Grid
    from rich.text import Text

    lead = {"number": f"{index}.", "check": "[ ]", "terms": "-"}.get(style, "-")
    text = Text()
    if item.label:
        label = f"{item.tone} {item.label}" if item.tone else item.label
        text.append(label, style=TONES[item.tone]).append(": " if style == "terms" else "  ")
    text.append(item.text)
    if item.place:
        text.append(f"  [{item.place}]", style="blue")
    if item.command:
        text.append("\n").append(item.command, style="green")
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(lead, text)
    return grid


def _edits(block: Edits) -> list[Text]:
    from rich.text import Text

    lines: list[Text] = []
    file = None
    for edit in block.edits:
        if edit.file != file and edit.file:
            lines.append(Text(edit.file, style="blue"))
        file = edit.file
        text = Text("  " if edit.file else "").append(f"{edit.key}: ", style="bold")
        if edit.old:
            text.append(edit.old, style="red").append(" -> ")
        lines.append(text.append(edit.new, style="green"))
    return lines


def _bars(block: Bars) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    widest = max(len(bar.label) for bar in block.bars)
    lines: list[RenderableType] = []
    for bar in block.bars:
        full = round(bar.share * BAR_CELLS)
        shape = f"  {'#' * full}{'.' * (BAR_CELLS - full)}  {bar.words}"
        lines.append(Text(bar.label.ljust(widest), style="bold").append(shape, style="not bold"))
        if bar.reason:
            reason = Text(bar.reason).append(f"  [{bar.place}]" if bar.place else "", style="blue")
            lines.append(Padding(reason, (0, 0, 0, 4)))
    return lines


def _table(block: Table) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for index, column in enumerate(block.columns):
        grid.add_column(column, justify="right" if index in block.numeric else "left", overflow="fold")
    for row in block.rows:
        grid.add_row(*(Text(cell) for cell in row))
    return grid
