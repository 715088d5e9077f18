"""Values that somebody named with their step, ``loss_step_100: 2.1``, as points of a series."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holter.names import series_name
from holter.patterns import regex
from holter.readers.base import NOT_FINITE
from holter.readers.tree import Entry
from holter.run import NAN, Run, Series, Source
from holter.values import number

_PLACE = regex(
    r"[_. ]*(?:at|after|in|of)?[_. ]*"
    r"(?:(?P<unit>(?<![a-z])steps?|iter(?:ation)?s?|epochs?|(?<![a-z])eps?)[_. ]*(?P<at>\d+)"
    r"|(?<=[_. ])(?P<before>\d+)[_. ]*(?P<kind>steps?|iter(?:ation)?s?|epochs?))(?![a-z\d])",
    re.I,
)
_START = regex(r"[_. ]*(?:at_)?(?:the_)?(?:start|beginning|init(?:ial)?(?:ly)?|first)(?:_step)?(?![a-z\d])", re.I)
"""Words for the first value, beside others that name their step."""


def add_placed(run: Run, written: Iterable[Entry], place: Source) -> None:
    """Add a series for each quantity of which values at named steps or epochs were written down.

    A quantity that the run holds as a series already is left alone, and so is a name with further words in it: those
    tell a condition, not a place.

    Args:
        run: where to.
        written: names as written, with their values.
        place: the document.
    """
    entries = list(written)
    found: dict[str, list[tuple[bool, float, float, Entry]]] = {}
    for entry in entries:
        match, value = _PLACE.search(entry.key), _value(entry)
        name = _series_of(entry.key, match) if match is not None else None
        if match is not None and name is not None and value is not None:
            by_epoch = (match["unit"] or match["kind"]).lower().startswith("ep")
            found.setdefault(name, []).append((by_epoch, float(match["at"] or match["before"]), value, entry))
    for entry in entries:
        start, value = _START.search(entry.key), _value(entry)
        name = _series_of(entry.key, start) if start is not None else None
        named = found.get(name, []) if name is not None and value is not None else []
        if named and value is not None and all(at != 0.0 for _, at, _, _ in named):
            named.append((named[0][0], 0.0, value, entry))
    for name, points in found.items():
        if name in run.series:
            continue
        series = Series(name=name, source=place)
        for by_epoch, at, value, entry in sorted(points, key=lambda point: point[:2]):
            series.append(value, step=NAN if by_epoch else at, epoch=at if by_epoch else NAN, line=entry.line)
        run.series[name] = series


def _series_of(key: str, place: re.Match[str]) -> str | None:
    """The series that a name speaks of once the place is taken out; None where other words are left."""
    rest = f"{key[: place.start()]}_{key[place.end() :]}".strip("_. ")
    name = series_name(re.sub(r"[_. ]{2,}", "_", rest))
    return "loss" if name == "train_loss" else name


def _value(entry: Entry) -> float | None:
    if isinstance(entry.value, str):
        if (known := NOT_FINITE.get(entry.value.strip().lower())) is not None:
            return known
        plain = number(entry.value.strip())
    else:
        plain = entry.value
    return float(plain) if isinstance(plain, (int, float)) and not isinstance(plain, bool) else None
