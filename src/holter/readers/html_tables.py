"""The tables that the notebook progress bar of transformers leaves in a cell's output, as text rows."""

from __future__ import annotations

from html.parser import HTMLParser

MAX_CELLS = 2_000_000  # of one output


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.inside = False
        self.cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows and self.cells < MAX_CELLS:
            self.rows[-1].append("")
            self.cells += 1
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += " ".join(data.split())


def table_lines(html: str) -> list[str]:
    """One line ``| a | b |`` for each row of each table in ``html``."""
    if "<t" not in html.lower():
        return []
    parser = _Tables()
    parser.feed(html)
    return ["| " + " | ".join(row) + " |" for row in parser.rows if row]
