"""Tables in a log: Markdown, aligned or tab-separated columns under a header, and a header line over bare numbers.

The transformers notebook prints ``Step  Training Loss  Validation Loss``; loops print ``train_loss,valid_loss`` and
then rows of numbers; people paste Markdown tables into reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from holter.names import meaning_of, normal, series_name
from holter.patterns import regex
from holter.quantity import EVAL, TRAIN, is_split
from holter.readers.console.phases import TEST, named
from holter.readers.console.row import Row
from holter.readers.numbers import cell_number, number, progress
from holter.readers.row_plan import EPOCH_KEYS, STEP_KEYS

_RULE = regex(r"^[\s|:+\-=*#]*$")
_DECORATION = " \t*=-#|+"
_GAP = regex(r"\t|\s{2,}|\s*[|,;]\s*")
_ABSENT = regex(r"\bNo log\b", re.IGNORECASE)
MAX_WORDS = 4  # of a column name in a header without column gaps
MAX_COLUMNS = 60
MAX_TURNED = 100  # characters of a header that only names rows
MIN_NUMBERS = 0.5  # share of the cells of a row that are numbers; rows of words end the table


_BOXES = str.maketrans(dict.fromkeys("│┃║", "|") | dict.fromkeys("─━═╒╤╕╞╪╡├┼┤╘╧╛╭┬╮╰┴╯┌┐└┘┏┳┓┣╋┫┗┻┛╔╦╗╠╬╣╚╩╝", "-"))
_SPACY = regex(r"^\s*E\s+#(?=\s)")
"""The columns of spaCy's table that count epochs and steps."""

NOT_LOGGED = "No log"
"""What a notebook's table shows for a loss that was not logged yet."""


@dataclass
class Table:
    """The table being read, if any."""

    columns: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)

    def feed(self, body: str) -> Row | None:
        """A row of the table; None for anything else. A header is remembered, a foreign line ends the table."""
        if not body.isascii():
            body = body.translate(_BOXES)
        if self.rows and (row := self._turned(body)) is not None:
            return row
        if self.columns:
            if _RULE.match(body):
                return None
            row = self._row(body)
            if row is not None:
                return row
        self.columns = header(body)
        self.rows = [] if self.columns else _rows_of(body)
        return None

    def _turned(self, body: str) -> Row | None:
        """A row ``accuracy | 0.91 | 0.84`` under ``Training | Validation``."""
        cells = _cells(body)[0]
        what = named(cells[0]) if len(cells) == len(self.rows) + 1 else None
        if what is None or not what.base:
            return None
        pairs = zip(self.rows, cells[1:], strict=True)
        return Row(fields={what.on(rows): value for rows, cell in pairs if (value := cell_number(cell)) is not None})

    @property
    def opened(self) -> bool:
        """Whether the last line fed was a header or belongs to a table."""
        return bool(self.columns)

    def _row(self, body: str) -> Row | None:
        for cells in _cells(body):
            extra = len(cells) - len(self.columns)
            if extra == 1 and number(cells[0]) is not None:
                cells = cells[1:]
            elif extra:
                continue
            rows = _one_split(cells[0])
            names = [_on(name, rows) for name in self.columns] if rows else self.columns
            values = {name: _value(name, cell) for name, cell in zip(names, cells, strict=True)}
            if any(value is None and _is_place(name) for name, value in values.items()):
                continue
            found = {name: value for name, value in values.items() if value is not None}
            if found and len(found) >= MIN_NUMBERS * len([c for c in cells if not _absent(c)]):
                return Row(fields=found, rest=NOT_LOGGED if NOT_LOGGED.lower() in body.lower() else "")
        return None


def header(body: str) -> list[str]:
    """The column names of a header line; empty when the line is not the header of a table of metrics."""
    stripped = _SPACY.sub("epoch  step", body).strip(_DECORATION)
    if not stripped or len(stripped) > 2000 or stripped[0] in "{[('\"":
        return []
    for names in (_GAP.split(stripped), _words(stripped)):
        names = [name.strip(_DECORATION) for name in names]
        if 2 <= len(names) <= MAX_COLUMNS and _is_header(names):
            return _series_of(names)
    return []


def _series_of(names: list[str]) -> list[str]:
    """Our names of the columns. A score beside a training and a held-out loss was measured with the latter."""
    known = [named(name) for name in names]
    split = {what.rows for what in known if what is not None}
    held_out = EVAL if EVAL in split else TEST
    both = TRAIN in split and held_out in split
    said = {what.base for what in known if what is not None and what.rows not in ("", TRAIN)}
    found: list[str] = []
    for name, what in zip(names, known, strict=True):
        ours = "" if what is None else what.name
        if both and what is not None and what.base and what.base not in said and not what.rows:
            ours = what.on(held_out)
        found.append(ours if ours and ours not in found and not _is_place(name) else name)
    return found


def _one_split(cell: str) -> str:
    what = named(cell) if cell.isalpha() else None
    return what.rows if what is not None and not what.name else ""


def _on(name: str, rows: str) -> str:
    what = named(name)
    return name if what is None else what.on(rows)


def _rows_of(body: str) -> list[str]:
    """The rows that the columns of a header are of, where it names nothing else: ``Training | Validation``."""
    found = [_one_split(cell) for cell in _GAP.split(body.strip(_DECORATION))] if len(body) <= MAX_TURNED else []
    return found if len(found) > 1 and all(found) else []


def _is_header(names: list[str]) -> bool:
    if any(not name or number(name) is not None or "=" in name or ":" in name for name in names):
        return False
    metrics = [name for name in names if _is_metric(name)]
    places = [name for name in names if _is_place(name)]
    return bool(metrics) and len(metrics) + len(places) >= 2


def _is_metric(name: str) -> bool:
    what = named(name)
    return (what is not None and bool(what.name)) or name.endswith("_loss") or name.lower().startswith("loss ")


def _is_place(name: str) -> bool:
    return normal(name) in STEP_KEYS or normal(name) in EPOCH_KEYS


def _words(text: str) -> list[str]:
    words, names, at = text.split(), list[str](), 0
    if len(words) > MAX_COLUMNS:
        return []
    while at < len(words):
        for size in range(min(MAX_WORDS, len(words) - at), 0, -1):
            name = " ".join(words[at : at + size])
            if size == 1 or _is_listed(name):
                names.append(name)
                at += size
                break
    return names


@lru_cache(maxsize=4096)
def _is_listed(name: str) -> bool:
    known = series_name(name)
    splits = sum(map(is_split, name.lower().split()))
    return known is not None and meaning_of(known) is not None and splits < 2


def _cells(body: str) -> list[list[str]]:
    text = _ABSENT.sub("-", body.strip())
    if "|" in text:
        return [[cell.strip() for cell in text.strip("|").split("|")]]
    ways = [_GAP.split(text), text.split()]
    return [[cell.strip() for cell in way] for way in ways]


def _value(name: str, cell: str) -> float | str | None:
    if _is_place(name):
        return progress(cell)
    if number(cell) is not None:
        return cell
    return cell_number(cell)


def _absent(cell: str) -> bool:
    return cell.strip() in ("", "-", "--", "n/a", "N/A", "None", "—")
