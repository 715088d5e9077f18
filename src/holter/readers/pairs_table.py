"""Tables of two columns that name a setting or a quantity and give its value, in Markdown, HTML or CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holter.names import config_name, normal, series_name
from holter.readers.markdown_blocks import Block, cells
from holter.readers.side_by_side import texts
from holter.readers.tree import Entry
from holter.run import Authority, Run, Source

_SETTING_WORDS = """
parameter parameters param hyperparameter hyperparameters hyper_parameter hyper_parameters setting settings argument
arguments arg option flag config configuration
"""
_SETTINGS = frozenset(_SETTING_WORDS.split())
"""Heads of a column that names settings."""

_QUANTITY_WORDS = "quantity metric metrics observation observed symptom measurement measure what what_i_see statistic"
_QUANTITIES = frozenset(_QUANTITY_WORDS.split())
"""Heads of a column that names what was seen."""

_ANYTHING = frozenset({"", "key", "name", "item", "field", "entry"})
_VALUES = frozenset(
    {"", "value", "values", "used", "my_value", "observed", "measured", "result", "what_i_see", "setting"}
)

MOST_WORDS = 8
"""Words of a name; more are a sentence."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What such a table says.

    Attributes:
        entries: the values by name.
        are_settings: they were set, not seen.
    """

    entries: Sequence[Entry]
    are_settings: bool


def pairs_of(table: Sequence[tuple[int, list[str]]]) -> Pairs | None:
    """The pairs of a table, the header first, each row with its line; None for any other table."""
    if len(table) < 2 or any(len(row) != 2 for _, row in table):
        return None
    name, value = (normal(cell) for cell in table[0][1])
    rows = [(line, row) for line, row in table[1:] if row[0].strip()]
    keys = [row[0].strip() for _, row in rows]
    if value not in _VALUES or len(set(keys)) < len(keys) or any(len(key.split()) > MOST_WORDS for key in keys):
        return None
    known = sum(config_name(key) is not None for key in keys)
    seen = sum(series_name(key) is not None for key in keys)
    if name not in _SETTINGS | _QUANTITIES and (name not in _ANYTHING or known + seen <= len(keys) / 2):
        return None
    entries = [texts([key], [(line, [row[1].strip()])])[0] for key, (line, row) in zip(keys, rows, strict=True)]
    are_settings = name in _SETTINGS or (name not in _QUANTITIES and known > seen)
    return Pairs(entries=[found[0] for found in entries if found], are_settings=are_settings)


def of_block(block: Block) -> Pairs | None:
    """The pairs of a table of a document."""
    rows = [(block.line_of(at), cells(line)) for at, line in enumerate(block.lines) if at != 1]
    return pairs_of(rows)


def add_pairs(run: Run, pairs: Pairs, place: Source, authority: Authority) -> None:
    """Add pairs as settings or as what was observed.

    Args:
        run: where to.
        pairs: see `pairs_of`.
        place: the file or cell, without a line.
        authority: of settings.
    """
    from holter.readers.documents import add_entry
    from holter.readers.written import add_observed

    if not pairs.are_settings:
        add_observed(run, {entry.key: entry for entry in pairs.entries}, place)
        return
    for entry in pairs.entries:
        add_entry(run, entry, place, authority=authority, tool=None)
