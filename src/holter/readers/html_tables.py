"""The tables of HTML, as text rows: what notebooks and data frames show, and what people paste into reports."""

from __future__ import annotations

from contextlib import suppress
from html.parser import HTMLParser

MAX_CELLS = 2_000_000  # of one output

Row = tuple[int, list[str]]
"""1-based line of a row within the text, and its cells."""


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[Row]] = []
        self.inside = False
        self.cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables = self.tables or [[]]
            self.tables[-1].append((self.getpos()[0], []))
        elif tag in ("td", "th") and self.tables and self.tables[-1] and self.cells < MAX_CELLS:
            self.tables[-1][-1][1].append("")
            self.cells += 1
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside and self.tables and self.tables[-1] and self.tables[-1][-1][1]:
            row = self.tables[-1][-1][1]
            row[-1] = f"{row[-1]} {' '.join(data.split())}".strip()


def tables(html: str) -> list[list[Row]]:
    """The rows of each table in ``html``; rows without cells and tables without rows are left out."""
    if "<t" not in html.lower():
        return []
    parser = _Tables()
    with suppress(AssertionError):  # a marked section of no known kind; what stands before it was read
        parser.feed(html)
    found = [[row for row in table if row[1]] for table in parser.tables]
    return [table for table in found if table]


def table_lines(html: str) -> list[str]:
    """One line ``| a | b |`` for each row of each table in ``html``."""
    return ["| " + " | ".join(row) + " |" for table in tables(html) for _, row in table]
