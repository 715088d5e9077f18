"""Several runs side by side: tells such a table from a log of one run, and makes its rows, whatever it is written in.

Every form, from a YAML list to an HTML table, hands its rows over as lists of `Entry`: the key of the column, the value
or the text of the cell, and its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from holter.names import NEVER_BARE, config_name, meaning_of, normal, series_name
from holter.patterns import regex
from holter.quantity import is_result
from holter.readers.base import NOT_FINITE, at, literal
from holter.readers.numbers import cell_number
from holter.readers.row_plan import EPOCH_KEYS, IGNORED, STEP_KEYS
from holter.readers.tree import Entry
from holter.run import NAN, Authority, Run, Series, Source, Value
from holter.secrets import mask_value
from holter.values import bounded, normalise, number

Cells = Sequence[Entry]
"""One run: its columns in order, those that were not given left out."""

MOST_RUNS = 200
"""Rows of a table that compares runs; a longer one is a log."""

LEAST_ROWS = 3
"""Rows that make a course; two may be two runs that were stopped at different steps."""

MOST_WORDS = 8
"""Words of a cell that describes a run; more is prose."""

_SAID_WORDS = """
result results outcome observed status state behaviour behavior comment note notes remark remarks what_happened effect
verdict converged converges diverged diverges learns trains works collapsed nan training
"""
SAID = frozenset(_SAID_WORDS.split())
"""Columns that say in words how a run went."""

_LABEL_WORDS = """
wall_time timestamp _timestamp _runtime text label sentence prediction question answer prompt response completion
instruction premise hypothesis sentence1 sentence2
"""
LABELS = frozenset(_LABEL_WORDS.split())
"""Columns of a log, or of a data set, and not of a table of runs."""

_RUN_WORDS = "run name id trial run_id run_name experiment exp config setting variant model attempt setup version"
RUN_KEYS = frozenset(_RUN_WORDS.split())
"""Columns that name a run."""

_ANY = frozenset({"name", "id", "version"})
"""Those that name anything else as well."""

_OF_RUNS_WORDS = """
runs experiments trials attempts sweep sweeps ablation ablations comparison comparisons variants tried ran compared
"""
_OF_RUNS = frozenset(_OF_RUNS_WORDS.split())

_ITEM_WORDS = "layer module param parameter tensor path file class label category token column feature"
_ITEMS = frozenset(_ITEM_WORDS.split())
"""Columns in front of rows that are parts of one run: scores by class, sizes by layer."""

_PARTS = _ITEMS | {"dataset", "data", "split", "metric"}
"""Columns that name parts of one run, or of its data."""

_GENERAL_WORDS = "seed precision dtype optimizer scheduler dropout rank device devices"
_GENERAL = frozenset(_GENERAL_WORDS.split())
"""General words that mean a setting in a column."""

_TURNED_KNOBS = frozenset({"dropout", "warmup", "seed", "optimizer", "precision", "dtype", "backend", "lora"})
"""Words of names that nothing but a setting has, known or not: ``warmup_epochs``, ``sdpa_backend``."""

FEW = 40
"""Rows of a table of runs in which nothing but the learning rate was set; longer ones are the log of a schedule."""

_WENT = regex(
    r"(?:all |is |was |becomes |always |much |slightly |clearly |almost |as |does |do |never |not |no )*"
    r"(?:nan|inf|none|finite|fine|ok|works?|stable|normal\w*|diverg\w*|converg\w*|explod\w*|collaps\w*|fails?|failed|"
    r"trains?|learns?|falls?|decreas\w*|drops?|rises?|increas\w*|improv\w*|stuck|stays?|stops?|crash\w*|same|identical|"
    r"differ\w*|expected|before|lower|higher|larger|smaller|worse|better|good|bad|poor|right|wrong|terrible|sensible|"
    r"garbage|gibberish|degraded|reference|exactly)(?![\w-])",
    re.I,
)
_NOT_GIVEN = frozenset({"", "-", "--", "\u2013", "\u2014", "n/a", "?"})
_SWITCHES = {"yes": True, "on": True, "no": False, "off": False}
_UNIT = regex(r"\s*[(\[](?:%|in %)[)\]]\s*$|\s+%$")


def is_of_runs(name: str) -> bool:
    """Whether a file or a heading is called a table of runs: ``runs.csv``, ``sweep_lr.yaml``, ``ablations:``."""
    return not _OF_RUNS.isdisjoint(re.split(r"[\W_]+", PurePath(name).stem.lower()))


def texts(header: Sequence[str], rows: Iterable[tuple[int, Sequence[str]]]) -> list[Cells]:
    """The rows of a table of texts, each with its line; empty cells are left out."""
    return [
        [
            Entry(key=key, value=of_text(text), line=line, raw=text)
            for key, text in zip(header, cells, strict=False)
            if text.strip().lower() not in _NOT_GIVEN
        ]
        for line, cells in rows
    ]


def of_text(text: str) -> Any:
    """What a cell of text would be in YAML: a switch, a number, a list, or the text."""
    bare = text.strip().strip("`").strip()
    if bare[:1] in ("'", '"') and bare[-1:] == bare[:1] and bare.count(bare[0]) == 2:
        bare = bare[1:-1]
    if bare[:1] in ("[", "{"):
        return literal(bare)
    return _SWITCHES.get(bare.lower(), number(bare))


# -- whether it is one -------------------------------------------------------------------------------------------------


def compares(table: Sequence[Cells], *, called: bool = False, strict: bool = False) -> bool:
    """Whether rows are runs: what was set or what a run is called, and what came of it.

    Args:
        table: the rows.
        called: the file or the heading says that these are runs.
        strict: a setting or a name has to be among the columns, since nothing else says that these are runs.
    """
    if not (1 if called else 2) <= len(table) <= MOST_RUNS:
        return False
    if called:
        return sum(len(row) > 1 for row in table) * 2 > len(table)  # each says more than its name
    keys = list(dict.fromkeys(entry.key for row in table for entry in row))
    if not LABELS.isdisjoint(map(normal, keys)) or normal(keys[0]) in _ITEMS or _rises(table):
        return False
    came = [key for key in keys if _is_outcome(key, table)]
    given = [key for key in keys if key not in came and not _is_place(key)]
    if any(len(str(entry.value).split()) > MOST_WORDS for row in table for entry in row if entry.key in given):
        return False
    if not any(_is_judged(entry) for row in table for entry in row if entry.key in came):
        return False
    return _sets(table, keys, given) if strict else bool(given)


def _sets(table: Sequence[Cells], keys: Sequence[str], given: Sequence[str]) -> bool:
    """Whether a column is a known setting or names runs, or words say how it went, as no log and no data set has."""
    if given and any(_is_word(entry) for row in table for entry in row if entry.key not in given):
        return len(table) <= FEW
    known = [key for key in given if _is_set(key) and (normal(key) != "precision" or _in_words(table, key))]
    if _PARTS.isdisjoint(map(normal, keys)):
        known += [key for key in given if normal(key) in RUN_KEYS - _ANY]
    if any(series_name(key) is None for key in known):
        return True
    return known[:1] == list(keys[:1]) and len(table) <= FEW and not any(map(_is_place, keys))


def has_words(table: Sequence[Cells]) -> bool:
    """Whether something other than a place and a result is told in words, and nothing names parts of one run."""
    keys = {entry.key for row in table for entry in row}
    given = {key for key in keys if not _is_place(key) and not _is_outcome(key, table)}
    if any(map(_is_place, keys)) or len(table) > FEW or not _PARTS.isdisjoint(map(normal, keys)):
        return False
    told = {key for key in given if normal(key) not in _ANY}
    return any(isinstance(entry.value, str) for row in table for entry in row if entry.key in told)


def _in_words(table: Sequence[Cells], key: str) -> bool:
    """Whether a column holds text; one of numbers that is called precision holds the score of that name."""
    return any(isinstance(entry.value, str) for row in table for entry in row if entry.key == key)


def _is_word(entry: Entry) -> bool:
    """Whether a cell tells in words how a run went; NaN is a number."""
    text = entry.value.strip().lower() if isinstance(entry.value, str) else ""
    return text not in NOT_FINITE and text != "none" and _WENT.match(text) is not None


def is_course(table: Sequence[Cells]) -> bool:
    """Whether rows are one run by step or epoch: the place rises from row to row, and nothing else was set."""
    return not any(is_setting(entry.key) for row in table for entry in row) and _rises(table)


def _rises(table: Sequence[Cells]) -> bool:
    for keys in (STEP_KEYS, EPOCH_KEYS):
        places = [_place(row, keys) for row in table]
        if len(places) > 1 and places[-1] > places[0] and all(late >= early for early, late in pairwise(places)):
            return True
    return False


def is_setting(key: str) -> bool:
    """Whether a column neither tells a place in the run nor holds a known quantity."""
    return not _is_place(key) and series_name(key) is None and normal(key) not in IGNORED


def _is_place(key: str) -> bool:
    return normal(key) in (*STEP_KEYS, *EPOCH_KEYS)


def _is_set(key: str) -> bool:
    """Whether a column is a known setting."""
    plain = normal(key)
    own = config_name(key) is not None and (plain not in NEVER_BARE or plain in _GENERAL)
    return own or plain.endswith("version") or not _TURNED_KNOBS.isdisjoint(plain.split("_"))


def is_outcome(key: str) -> bool:
    """Whether a column says by its name that it tells how runs went."""
    plain = normal(key)
    logged = series_name(key) is not None and plain not in IGNORED
    return plain in SAID or (config_name(key) is None and (is_result(key) or logged))


def _is_outcome(key: str, table: Sequence[Cells]) -> bool:
    if is_outcome(key):
        return True
    if config_name(key) is not None or _is_place(key) or normal(key) in RUN_KEYS:
        return False
    return any(isinstance(e.value, str) and _WENT.match(e.value.strip()) for row in table for e in row if e.key == key)


def _is_judged(entry: Entry) -> bool:
    value = entry.value
    if not isinstance(value, str):
        return value is not None
    return (
        normal(entry.key) in SAID
        or cell_number(value) is not None
        or bounded(value) is not None
        or bool(_WENT.match(value.strip()))
    )


def _place(row: Cells, keys: Sequence[str]) -> float:
    value = next((entry.value for entry in row if normal(entry.key) in keys), None)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else NAN


# -- its rows ----------------------------------------------------------------------------------------------------------


def add_rows(run: Run, table: Sequence[Cells], place: Source) -> None:
    """Add rows to ``run.variants``; rows of one run by step or epoch, in order of time, are added as series too."""
    if is_course(table[::-1]):
        table = table[::-1]
    made = [row for cells in table if (row := _row(cells, place))]
    run.variants.extend(made)
    if len(made) >= LEAST_ROWS and is_course(table):
        _add_course(run, made, place)


def _row(cells: Cells, place: Source) -> dict[str, Value]:
    row: dict[str, Value] = {}
    for entry in cells:
        if isinstance(entry.value, str) and entry.value.strip().lower() in _NOT_GIVEN:
            continue
        key = _UNIT.sub("", entry.key)
        name = column_name(key)
        value, raw = mask_value(key, entry.value, entry.raw)
        source = replace(at(place, entry.line), key=entry.key)
        row.setdefault(name, Value(value=_plain(name, value), source=source, raw=raw, authority=Authority.FACT))
    return row


def column_name(key: str) -> str:
    """Our name of a column; ``T`` and other single letters stay as they are."""
    return series_name(key) or config_name(key) or (normal(key) if len(key) > 1 else key)


def _plain(name: str, value: Any) -> Any:
    """The value as its column has it: ``nan``, ``2e-5`` and ``71.5%`` are numbers, ``200 steps`` is 200 steps."""
    value = number_words(normalise(name, value))
    if not isinstance(value, str):
        return value
    found = cell_number(value) if value.strip().endswith(("%", "*")) else None
    row = meaning_of(name)
    if found is None and row is not None and row.is_number and series_name(name) is None and value[:1].isdigit():
        found = bounded(value)
    return value if found is None else found


def number_words(value: Any) -> Any:
    """``nan`` and ``2e-5`` are text in YAML and numbers to whoever wrote them."""
    if isinstance(value, str):
        text = value.strip().lower()
        return NOT_FINITE[text] if text in NOT_FINITE else number(value)
    if isinstance(value, list):
        return [number_words(item) for item in value]
    if isinstance(value, dict):
        return {key: number_words(item) for key, item in value.items()}
    return value


def _add_course(run: Run, rows: Sequence[dict[str, Value]], place: Source) -> None:
    for row in rows:
        step, epoch = (_number_of(row, name) for name in ("step", "epoch"))
        for name, value in row.items():
            point = value.value if series_name(name) == name else None
            if isinstance(point, str):
                point = bounded(point)
            if isinstance(point, (int, float)) and not isinstance(point, bool):
                series = run.series.setdefault(name, Series(name=name, source=replace(place, line=None)))
                series.append(float(point), step=step, epoch=epoch, line=value.source.line or 0)


def _number_of(row: dict[str, Value], name: str) -> float:
    value = row[name].value if name in row else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else NAN


def with_names(rows: Sequence[tuple[str, int, Cells]]) -> list[Cells]:
    """Runs with the names they stand under and the lines of these, unless they have names of their own.

    Names that only number the rows of a table in which more is told apart say no more than a list does.
    """
    table = [cells for _, _, cells in rows]
    if only_count([name for name, _, _ in rows]) and any(
        not _is_outcome(entry.key, table) for row in table for entry in row
    ):
        return table
    return [
        cells
        if any(normal(entry.key) == "run" for entry in cells)
        else [Entry(key="run", value=name, line=line, raw=name), *cells]
        for name, line, cells in rows
    ]


_COUNTED = regex(r"(?:run|exp|experiment|trial|attempt|case|row|config|setup|variant)?[ _#-]*(\d{1,3}|[a-z])", re.I)


def only_count(names: Sequence[str]) -> bool:
    """Whether names are ``run 1``, ``run 2`` and so on, or letters."""
    numbers = [_COUNTED.fullmatch(name.strip()) for name in names]
    places = [_number_in(match[1]) for match in numbers if match is not None]
    return len(places) == len(names) > 1 and all(late == early + 1 for early, late in pairwise(places))


def _number_in(text: str) -> int:
    return int(text) if text.isdigit() else ord(text.lower())
