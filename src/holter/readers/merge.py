"""Joins what several files say about one training into one Run; the only place where sources meet.

Nothing is dropped: series of the leading source are believed (``run.series``), those of others fill in what it lacks or
stay in ``run.other_series``; of several spellings of a setting the most authoritative comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from holter.comparison import is_kept_to_compare
from holter.names import told_name
from holter.run import Run, Series


def merge(parts: Iterable[Run]) -> Run:
    """One Run from the parts, in the order given.

    The leading source is the one with the most points of the training loss, then with steps, then the first. It is
    believed for every quantity it holds; for the others the fullest source is.
    """
    whole, found = Run(), list[Series]()
    for part in parts:
        absorb(whole, part)
        found.extend(_training_loss([*part.series.values(), *part.other_series]))
    compared = _compared(found)
    ranks = _ranks([series for series in found if series.source.file not in compared])
    candidates: dict[str, list[Series]] = {}
    for series in found:
        if series.source.file in compared:
            whole.other_series.append(series)
        else:
            candidates.setdefault(series.name, []).append(series)
    for name, same in candidates.items():
        believed = _believed(same, ranks)
        whole.series[name] = believed
        whole.other_series.extend(series for series in same if series is not believed)
    return whole


def absorb(whole: Run, part: Run) -> None:
    """Add everything of ``part`` except its series to ``whole``."""
    for name, values in part.config.items():
        for value in values:
            whole.add_setting(name, value)
    for name, values in part.facts.items():
        for value in values:
            whole.add_fact(name, value)
    whole.variants.extend({told_name(name): value for name, value in row.items()} for row in part.variants)
    whole.events.extend(part.events)
    whole.code.extend(part.code)
    whole.inputs.extend(part.inputs)
    whole.gaps.extend(part.gaps)


def _training_loss(found: list[Series]) -> list[Series]:
    """A ``train_loss`` logged again and again is the training loss, unless the same file also holds ``loss``."""
    if any(series.name == "loss" for series in found):
        return found
    return [replace(s, name="loss") if s.name == "train_loss" and len(s) > 1 else s for s in found]


_Origin = tuple[str, str | None, int | None]


def _origin(series: Series) -> _Origin:
    return series.source.file, series.source.key, series.source.cell


def _ranks(found: Sequence[Series]) -> dict[_Origin, int]:
    """The place of each source, the leading one first."""
    weights: dict[_Origin, tuple[int, int]] = {}
    for series in found:
        origin = _origin(series)
        weight = _fullness(series) if series.name == "loss" else (0, 0)
        weights[origin] = max(weights.get(origin, weight), weight)
    ordered = sorted(weights, key=lambda origin: weights[origin], reverse=True)
    return {origin: place for place, origin in enumerate(ordered)}


def _compared(found: Sequence[Series]) -> set[str]:
    files = {series.source.file for series in found}
    compared = {file for file in files if is_kept_to_compare(file)}
    return compared if files - compared else set()


def _believed(same: Sequence[Series], ranks: dict[_Origin, int]) -> Series:
    if len(same) == 1:
        return same[0]
    leading = [series for series in same if ranks[_origin(series)] == 0]
    return leading[0] if leading else max(same, key=_fullness)


def _fullness(series: Series) -> tuple[int, int]:
    placed = sum(1 for step in series.steps if step == step)
    return len(series), placed
