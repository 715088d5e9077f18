"""Tables of texts that compare runs, whether in Markdown, HTML or CSV: a row a run, or a column a run.

| precision | loss at step 10 |        |           | fp16 | bf16 |
|-----------|-----------------|   or   |-----------|------|------|
| fp16      | nan             |        | eval loss | nan  | 1.4  |
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from holter.names import config_name, normal, series_name
from holter.patterns import regex
from holter.readers.markdown_blocks import Block, cells
from holter.readers.roles import role_of
from holter.readers.side_by_side import Cells, add_rows, compares, is_of_runs, is_outcome, texts, with_names
from holter.run import Run, Source

MOST_CELLS = 40
"""Columns; a wider table is a log."""

_HOPED = regex(r"(?:expect|propos|recommend|suggest|plan|target|goal|after|before|fix)\w*\b")
"""Rows that are no run: what somebody wants, and the two states of one run."""

_SETTINGS = regex(r"(?:hyper-?)?(?:param(?:eter)?|setting|argument|arg|option|flag|config\w*|key)s?\b", re.I)
"""Heads of a first column that lists the settings of one run."""

_A_RUN = regex(r"(?:run|exp|experiment|trial|attempt|model|seed|version|config|setup|#)?[ _#-]*(?:\d{1,3}|[A-Z])", re.I)
_FORMAT_WORDS = "fp16 bf16 fp32 tf32 fp8 float16 bfloat16 float32 half float int8 nf4"
_FORMATS = frozenset(_FORMAT_WORDS.split())

Table = list[tuple[int, list[str]]]
"""Rows of cells with their lines, the header first."""


def add_runs(run: Run, block: Block, place: Source) -> bool:
    """Add the rows of a table that compares runs to ``run.variants``; whether it was one."""
    rows = [(block.line_of(at), cells(line)) for at, line in enumerate(block.lines) if at > 1]
    called = any(map(is_of_runs, (block.lead, *block.headings[-1:], place.file)))
    found = runs_of([(block.first, cells(block.lines[0])), *rows], called=called)
    add_rows(run, found, Source(file=place.file, cell=place.cell))
    return bool(found)


def runs_of(table: Table, *, called: bool = False, strict: bool = False) -> list[Cells]:
    """The runs of a table, a row or a column each; empty where it holds none.

    Args:
        table: rows of cells, the header first, each with its line.
        called: see `compares`; so is ``strict``.
    """
    table = _without_numbers(table)
    width = len(table[0][1]) if table else 0
    if not 2 <= width <= MOST_CELLS or any(len(row) != width for _, row in table) or len(table) < 2:
        return []
    (_, header), *rows = table
    first = [row[0] for _, row in rows]
    if _runs_are_columns(header, first):
        if any(role_of(key) for key in header[1:]) or _SETTINGS.match(header[0]):
            return []
        found = _turned(table)
    elif (not called and any(_HOPED.match(key.lower()) for key in first)) or (
        _SETTINGS.match(header[0]) and _known(first) * 2 > len(first)
    ):
        return []
    else:
        found = texts(header, rows)
    return found if compares(found, called=called, strict=strict) else []


def _runs_are_columns(header: Sequence[str], first: Sequence[str]) -> bool:
    """Whether the first column names what was set and what came of it, rather than the header."""
    if any(is_outcome(key) for key in header[1:]) or len(set(first)) < len(first):
        return False
    here, there = _known(header), _known(first)
    return there > here or (there == here and all(_A_RUN.fullmatch(key.strip()) for key in header[1:]))


def _known(keys: Sequence[str]) -> int:
    """How many names are those of settings or results; a format is mostly a value of one."""
    names = [key for key in keys if normal(key) not in _FORMATS]
    return sum(is_outcome(key) or config_name(key) is not None or series_name(key) is not None for key in names)


def _turned(table: Table) -> list[Cells]:
    """The columns as runs, with the names that they stand under."""
    (first, header), *rows = table
    named = []
    for at in range(1, len(header)):
        cells = [entry for line, row in rows for entry in texts([row[0]], [(line, [row[at]])])[0]]
        named.append((header[at], first, cells))
    return with_names(named)


def _without_numbers(table: Table) -> Table:
    """The table without a column that has no name and only counts the rows, as data frames print it."""
    if len(table) < 2 or not table[0][1] or table[0][1][0].strip():
        return table
    counted = [row[0].strip() for _, row in table[1:] if row]
    if counted not in ([str(at) for at in range(len(counted))], [str(at) for at in range(1, len(counted) + 1)]):
        return table
    return [(line, row[1:]) for line, row in table]
