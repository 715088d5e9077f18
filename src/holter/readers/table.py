"""CSV and TSV tables of metrics, with exports of W&B and TensorBoard among them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice

from holter.names import normal, series_name
from holter.patterns import regex
from holter.readers.base import CERTAIN, Match, Sample
from holter.readers.console.tables import NOT_LOGGED
from holter.readers.pairs_table import add_pairs, pairs_of
from holter.readers.row_plan import EPOCH_KEYS, STEP_KEYS
from holter.readers.rows import Rows
from holter.readers.runs_table import Table, runs_of
from holter.readers.side_by_side import MOST_RUNS, Cells, add_rows, has_words, is_of_runs
from holter.run import EVENT_MESSAGE, Authority, Event, Gap, Run

NAME = "table"
_SUFFIXES = {".csv", ".tsv", ".tab"}
_DELIMITERS = (",", "\t", ";", "|")
NOT_LOGGED_WITHIN = 20_000  # characters; the words stand in the first rows or nowhere
BATCH = 10_000  # rows turned into columns at a time
MAX_COLUMNS = 2_000  # a table of metrics has dozens; a wider one is data
_WANDB = regex(r"^(?P<run>.+) - (?P<key>[^ ].*)$")
_WANDB_RANGE = ("__MIN", "__MAX", "_step")
_TENSORBOARD = regex(r"tag[-_](?P<tag>.+)\.csv$", re.IGNORECASE)


def sniff(sample: Sample) -> Match | None:
    """A header line with a known metric, and a suffix of a table or a row of numbers under it."""
    if sample.encoding is None:
        return None
    if sample.suffix not in _SUFFIXES and sample.suffix not in (".txt", ""):
        return None
    head = header(sample.text, sample.name)
    if head is None or not (_has_metrics(head[1]) or _by_hand(sample, *head)):
        return None
    if sample.suffix not in _SUFFIXES and not _numbers_follow(sample.text, head[0], len(head[1])):
        return None
    return Match(score=CERTAIN, why="a table with a column of a known metric")


def header(text: str, name: str) -> tuple[str, list[str]] | None:
    """The delimiter and the column names of a table, spelt as the metrics they hold; None when it is none."""
    first = next((line for line in text.lstrip("\ufeff").splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    if not first.count(delimiter) or len(first) > 100_000:
        return None
    try:
        columns = next(csv.reader([first], delimiter=delimiter))
    except (csv.Error, StopIteration):
        return None
    if len(columns) > MAX_COLUMNS:
        return None
    return delimiter, _columns([column.strip() for column in columns], name)


def read(sample: Sample) -> Run:
    """All numeric columns as series; rows of another width give a `Gap`."""
    run, rows = Run(), Rows(sample.shown)
    text = sample.read_text()
    found = header(text, sample.name)
    if found is None:
        return run
    delimiter, columns = found
    if (pairs := pairs_of(_small(text, delimiter))) is not None:
        add_pairs(run, pairs, sample.source(), Authority.CONFIG)
        return run
    if runs := _of_runs(sample, text, delimiter):
        add_rows(run, runs, sample.source())
        return run
    lines = csv.reader(text.lstrip("\ufeff").splitlines(), delimiter=delimiter)
    odd: list[int] = []
    try:
        for first, batch in _batches(lines, len(columns), odd):
            rows.add_many([dict(zip(columns, cells, strict=True)) if cells else None for cells in batch], first)
    except csv.Error as error:
        run.gaps.append(Gap(source=sample.source(line=lines.line_num), what="the rows from here on", why=str(error)))
    if odd:
        run.gaps.append(
            Gap(
                source=sample.source(line=odd[0]),
                what=f"{len(odd)} of the rows",
                why=f"they do not have the {len(columns)} cells of the header",
                do="check whether the file was cut off while being written",
            )
        )
    rows.fill(run)
    run.events.extend(_not_logged(sample, text))
    return run


def _by_hand(sample: Sample, delimiter: str, columns: list[str]) -> bool:
    """Whether a table compares runs, or names settings or quantities with their values."""
    if len(columns) == 2 and pairs_of(_small(sample.text, delimiter)) is not None:
        return True
    return bool(_of_runs(sample, sample.text, delimiter))


def _of_runs(sample: Sample, text: str, delimiter: str) -> list[Cells]:
    """The runs of a sweep, a row or a column each; empty for any other table."""
    called = is_of_runs(sample.name)
    table = _small(text, delimiter)
    if len(table) < (2 if called else 3):
        return []
    found = runs_of(table, called=called, strict=not called)
    if found:
        return found
    found = runs_of(table)
    return found if has_words(found) else []


def _small(text: str, delimiter: str) -> Table:
    """The cells of a table that a person can have written, each row with its line; empty for a longer one."""
    lines = [line for line in text.lstrip("\ufeff").splitlines()[: MOST_RUNS + 2] if line.strip()]
    if len(lines) > MOST_RUNS:
        return []
    try:
        return list(enumerate(([cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)), 1))
    except csv.Error:
        return []


def _not_logged(sample: Sample, text: str) -> list[Event]:
    """The cell that a notebook's table shows where no training loss was logged yet."""
    head = text[:NOT_LOGGED_WITHIN]
    at = head.find(NOT_LOGGED)
    if at < 0:
        return []
    return [Event(kind=EVENT_MESSAGE, text=NOT_LOGGED, source=sample.source(line=head.count("\n", 0, at) + 1))]


def _batches(lines: Iterator[list[str]], width: int, odd: list[int]) -> Iterator[tuple[int, list[list[str]]]]:
    while not next(lines, ["end"]):
        pass
    number = 2
    while batch := list(islice(lines, BATCH)):
        for offset, cells in enumerate(batch):
            if len(cells) != width:
                if cells:
                    odd.append(number + offset)
                batch[offset] = []
        yield number, batch
        number += len(batch)


def _columns(columns: list[str], name: str) -> list[str]:
    tag = _TENSORBOARD.search(name)
    if tag and [normal(column) for column in columns] == ["wall_time", "step", "value"]:
        return ["wall_time", "step", _known_tail(tag["tag"])]
    spelt: list[str] = []
    for at, column in enumerate(columns):
        match = _WANDB.match(column)
        key = match["key"] if match and not column.endswith(_WANDB_RANGE) else column
        spelt.append(key if key and key not in spelt else f"{column or 'column'}#{at}")
    return spelt


def _known_tail(tag: str) -> str:
    """``train_loss`` as TensorBoard spells ``train/loss`` in a file name."""
    slashed = tag.replace("_", "/", 1)
    return slashed if series_name(slashed) is not None else tag


def _has_metrics(columns: list[str]) -> bool:
    placed = any(normal(column) in STEP_KEYS or normal(column) in EPOCH_KEYS for column in columns)
    metrics = [column for column in columns if series_name(column) is not None]
    return bool(metrics) and (placed or len(metrics) > 1)


def _numbers_follow(text: str, delimiter: str, width: int) -> bool:
    second = next(islice((line for line in text.splitlines() if line.strip()), 1, None), "")
    cells = second.split(delimiter)
    return len(cells) == width and any(re.fullmatch(r"\s*[-+\d.eEnaif]+\s*", cell) for cell in cells)
