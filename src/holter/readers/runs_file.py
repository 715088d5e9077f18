"""Runs side by side as a JSON list, as JSON lines, or as the table of an HTML page."""

from __future__ import annotations

from holter.patterns import regex
from holter.readers.base import CERTAIN, LIKELY, Match, Sample
from holter.run import Run

NAME = "table of runs"

_TABLE = regex(r"<table\b")
_PAGES = (".html", ".htm")
_LINES = (".jsonl", ".ndjson")
_LISTS = (".json", ".yaml", ".yml")


def sniff(sample: Sample) -> Match | None:
    """A page with a table, or JSON objects that say what was set in each run and what came of it."""
    if sample.encoding is None or sample.suffix not in (*_PAGES, *_LINES, *_LISTS):
        return None
    if sample.suffix in _PAGES:
        return Match(score=LIKELY, why="a page with a table") if _TABLE.search(sample.text.lower()) else None
    start = sample.text.lstrip("\ufeff \t\r\n")[:1]
    if not sample.whole or start != ("{" if sample.suffix in _LINES else "["):
        return None
    run = _listed(sample, sample.text)
    return Match(score=CERTAIN, why="objects that compare runs") if run.variants else None


def read(sample: Sample) -> Run:
    """The rows as runs; a table of a page that compares none is read as metrics."""
    text = sample.read_text()
    return _page(sample, text) if sample.suffix in _PAGES else _listed(sample, text)


def _listed(sample: Sample, text: str) -> Run:
    from holter.readers.json_tree import read_json
    from holter.readers.run_nodes import without_runs
    from holter.readers.tree import TooLarge

    run = Run()
    if sample.suffix in _LINES:
        text = "[" + ",\n".join(line for line in text.split("\n") if line.strip()) + "]"
    try:
        for document in read_json(text).documents:
            if document.items and all(item.pairs is not None for item in document.items):
                without_runs(run, document, sample.source())
    except TooLarge:
        return Run()
    return run


def _page(sample: Sample, text: str) -> Run:
    from holter.readers.console_log import read_lines
    from holter.readers.html_tables import tables
    from holter.readers.merge import merge
    from holter.readers.runs_table import runs_of
    from holter.readers.side_by_side import add_rows, is_of_runs

    parts: list[Run] = []
    for table in tables(text):
        run = Run()
        found = runs_of(table, called=is_of_runs(sample.name))
        add_rows(run, found, sample.source())
        lines = ((line, "| " + " | ".join(cells) + " |") for line, cells in table)
        parts.append(run if found else read_lines(lines, sample.shown))
    return merge(parts)
