"""Turns what a person wrote down into one-point series, facts and rows; see `holter.readers.facts` for the files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from holter.names import series_name
from holter.patterns import regex
from holter.readers.base import NOT_FINITE, Sample
from holter.readers.documents import add_entry, add_faults, entries, too_large
from holter.readers.facts import SIGNATURE, SIGNED
from holter.readers.json_tree import read_json
from holter.readers.placed import add_placed
from holter.readers.run_nodes import add_runs_of, without_runs
from holter.readers.side_by_side import number_words
from holter.readers.toml_tree import read_toml
from holter.readers.tree import Entry, Node, TooLarge, Tree
from holter.readers.yaml_tree import read_yaml
from holter.run import NAN, Authority, Run, Series, Source, Value
from holter.secrets import mask_value
from holter.values import bounded, number

_PROSE = regex(r"^(\s*(?:- )?[\w.\-/]+:[ \t]+)([^\s'\"\[{|>&*!%@`#].*?:(?:[ \t].*)?)$", re.M)


def read_written(sample: Sample, kind: str) -> Run:
    """The Run of one file.

    Args:
        sample: the file.
        kind: ``settings``, ``facts``, ``observed``, ``runs`` or ``probe``.
    """
    run, tree = Run(), _tree(sample)
    for document in tree.documents:
        authority = _authority(document)
        try:
            if kind == "runs":
                add_runs_of(run, document, sample.source())
                continue
            if authority is Authority.FACT:
                document = without_runs(run, document, sample.source(), several=True)
            if kind == "settings":
                for entry in _said(document):
                    add_entry(run, entry, sample.source(), authority=authority)
            elif kind == "observed":
                _observed(run, document, sample)
            else:
                _facts(run, document, sample, authority)
        except TooLarge:
            run.gaps.append(too_large(sample.source()))
    add_faults(run, tree, sample.source())
    return run


def _authority(document: Node) -> Authority:
    """Files of such names are written by people, and by a guard, which signs them."""
    by_guard = any(key == SIGNATURE and node.plain() == SIGNED for key, node in document.pairs or ())
    return Authority.RECORDED if by_guard else Authority.FACT


def _said(document: Node) -> list[Entry]:
    return [entry for entry in entries(document) if entry.key != SIGNATURE]


def _tree(sample: Sample) -> Tree:
    text = sample.read_text()
    if sample.suffix == ".json":
        return read_json(text)
    if sample.suffix == ".toml":
        return read_toml(text)
    tree = read_yaml(text)
    return read_yaml(_PROSE.sub(_in_quotes, text)) if tree.faults else tree


def _in_quotes(line: re.Match[str]) -> str:
    """A note such as ``seen: at step 3: nan`` as its writer meant it: YAML takes the second colon for a mapping."""
    key, value = line.groups()
    return f"{key}'{value.replace(chr(39), 2 * chr(39))}'"


# -- observed ----------------------------------------------------------------------------------------------------------


def _observed(run: Run, document: Node, sample: Sample) -> None:
    add_observed(run, entries_by_key(document), sample.source())


def add_observed(run: Run, found: Mapping[str, Entry], place: Source) -> None:
    """Add what somebody saw: a known quantity with a number as a point of a series, anything else as a fact.

    Args:
        run: where to.
        found: the values by key.
        place: the document; lines and keys are those of the entries.
    """
    step, epoch = (_place(found.get(key)) for key in ("step", "epoch"))
    for entry in found.values():
        name = series_name(entry.key)
        points = _points(entry.value) if name is not None else None
        if name is None or points is None:
            _fact(run, entry, place)
            continue
        series = Series(name=name, source=_at(place, entry))
        for at, (value, raw) in enumerate(points):
            known = len(points) == 1
            series.append(value, step=step if known else NAN, epoch=epoch if known else NAN, line=entry.line)
            if raw:
                series.raw[at] = raw
        if len(points) == 1 and ("#" in entry.raw or not _is_plain_number(entry.raw)):
            series.raw[0] = entry.raw
        if name in run.series:
            run.other_series.append(series)
        else:
            run.series[name] = series
    add_placed(run, found.values(), place)


def entries_by_key(document: Node) -> dict[str, Entry]:
    """The values of a document by full key; of a key given twice the last."""
    found: dict[str, Entry] = {}
    for entry in entries(document):
        found.setdefault(entry.key, entry)
    return found


def _place(entry: Entry | None) -> float:
    value = entry.value if entry is not None else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else NAN


def _points(value: Any) -> list[tuple[float, str]] | None:
    """The numbers of an observed quantity with their text where that says more; None when one is no number."""
    points = [_point(item) for item in (value if isinstance(value, list) else [value])]
    known = [point for point in points if point is not None]
    return known if len(known) == len(points) and known else None


def _point(value: Any) -> tuple[float, str] | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value), ""
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in NOT_FINITE:
            return NOT_FINITE[text.lower()], text
        plain = number(text)
        if isinstance(plain, (int, float)) and not isinstance(plain, bool):
            return float(plain), text
        bound = bounded(text)
        return None if bound is None else (float(bound), text)
    return None


def _is_plain_number(raw: str) -> bool:
    return isinstance(number(raw), (int, float)) and raw.strip() not in ("0",)


# -- facts -------------------------------------------------------------------------------------------------------------


def _facts(run: Run, document: Node, sample: Sample, authority: Authority) -> None:
    for entry in _said(document):
        _fact(run, entry, sample.source(), authority)
    add_placed(run, entries(document), sample.source())
    for key, node in document.pairs or ():
        if not node.is_scalar and not (node.items is not None and all(item.is_scalar for item in node.items)):
            entry = Entry(key=key, value=node.plain(), line=node.line, raw=node.raw)
            _fact(run, entry, sample.source(), authority)


def _fact(run: Run, entry: Entry, place: Source, authority: Authority = Authority.FACT) -> None:
    value, raw = mask_value(entry.key, entry.value, entry.raw)
    given = Value(value=number_words(value), source=_at(place, entry), raw=raw, authority=authority)
    run.add_fact(entry.key or PurePath(place.file).stem, given)


def _at(place: Source, entry: Entry) -> Source:
    return replace(place, line=entry.line or None, key=entry.written)
