"""Joins what several files say about one training into one Run; the only place where sources meet.

Nothing is dropped: of several series of one quantity the fullest is believed (``run.series``) and the others stay in
``run.other_series``; of several spellings of a setting the most authoritative comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from holter.run import Run, Series


def merge(parts: Iterable[Run]) -> Run:
    """One Run from the parts, in the order given."""
    whole = Run()
    candidates: dict[str, list[Series]] = {}
    for part in parts:
        absorb(whole, part)
        for series in _training_loss([*part.series.values(), *part.other_series]):
            candidates.setdefault(series.name, []).append(series)
    for name, found in candidates.items():
        believed = max(found, key=_fullness) if len(found) > 1 else found[0]
        whole.series[name] = believed
        whole.other_series.extend(series for series in found if series is not believed)
    return whole


def absorb(whole: Run, part: Run) -> None:
    """Add everything of ``part`` except its series to ``whole``."""
    for name, values in part.config.items():
        for value in values:
            whole.add_setting(name, value)
    for name, values in part.facts.items():
        for value in values:
            whole.add_fact(name, value)
    whole.variants.extend(part.variants)
    whole.events.extend(part.events)
    whole.code.extend(part.code)
    whole.inputs.extend(part.inputs)
    whole.gaps.extend(part.gaps)


def _training_loss(found: list[Series]) -> list[Series]:
    """A ``train_loss`` logged again and again is the training loss, unless the same file also holds ``loss``."""
    if any(series.name == "loss" for series in found):
        return found
    return [replace(s, name="loss") if s.name == "train_loss" and len(s) > 1 else s for s in found]


def _fullness(series: Series) -> tuple[int, int]:
    placed = sum(1 for step in series.steps if step == step)
    return len(series), placed
