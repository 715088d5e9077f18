"""Lists of losses that loops print at the end: ``losses=[2.3, 1.9, nan]``, ``train loss history: [0.9, 0.7]``."""

from __future__ import annotations

import re

from holter.names import series_name
from holter.patterns import regex
from holter.readers.console.row import Row
from holter.readers.numbers import NUMBER, number

LEAST = 3
"""Numbers that make a course; two brackets around one or two are how tensors and shapes are printed."""

_LIST = regex(
    r"(?P<key>[A-Za-z_][\w/]*(?:[ _]\w+){0,3}?)\s*[:=]\s*"
    rf"\[(?P<items>\s*(?:tensor\(|np\.float\d+\()?{NUMBER}[^\[\]]*)\]"
)
_NUMBER = regex(rf"(?<![\w.]){NUMBER}(?![\w.]*[A-Za-z_])")
_ENDINGS = regex(r"(?:[_ ](?:history|list|values|curve|log|per[_ ]\w+))+$")


def parse(body: str) -> list[Row]:
    """One row a number of each list of a known metric; empty where the line holds none."""
    found: list[Row] = []
    for match in _LIST.finditer(body):
        name = _name(match["key"])
        values = [number(text) for text in _NUMBER.findall(match["items"])]
        if name is not None and len(values) >= LEAST:
            found += [Row(fields={name: value}) for value in values if value is not None]
    return found


def _name(key: str) -> str | None:
    """The metric that a name in the plural stands for."""
    bare = _ENDINGS.sub("", key.strip().lower())
    single = re.sub(r"losses$", "loss", re.sub(r"accuracies$", "accuracy", re.sub(r"norms$", "norm", bare)))
    return None if single == key.strip().lower() == "learning_rate" else series_name(single)
