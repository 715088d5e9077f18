"""Dicts and JSON objects printed into a log, whole, cut off or without braces.

transformers 4.x prints ``{'loss': 0.0, 'grad_norm': nan}``, 5.x ``{'loss': '0.0', 'grad_norm': 'nan'}``; excerpts often
have lost a brace.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import orjson

from holter.names import config_name, normal, series_name
from holter.patterns import regex
from holter.readers.console.row import Row
from holter.readers.numbers import NUMBER
from holter.readers.row_plan import EPOCH_KEYS

_PAIR = regex(
    r"""(?P<quote>['"])(?P<key>[^'"\n{}]{1,160}?)(?P=quote)\s*[:=]\s*"""
    r"""(?:(?P<open>\{)|'(?P<single>[^'\n]*)'|"(?P<double>[^"\n]*)"|(?:[A-Za-z_][\w.]*\(\s*)?(?P<number>"""
    + NUMBER
    + r""")|(?P<word>True|False|None|true|false|null)\b)"""
)
_OUTPUT = regex(r"\b\w*Output\(global_step=(?P<step>\d+),\s*training_loss=(?P<loss>" + NUMBER + r")")
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}


def quick(text: str) -> dict[str, Any] | None:
    """A line that is one flat dict, by swapping quotes; None when that does not do."""
    try:
        if "'" in text:
            text = text.replace('"', "\\'") if '"' in text else text.replace("'", '"')
        if ": nan" in text:
            text = text.replace(": nan", ': "nan"')
        found = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None
    return found if isinstance(found, dict) and found else None


@lru_cache(maxsize=10_000)
def kind(keys: tuple[str, ...]) -> str:
    """Whether the keys of a printed dict are those of ``metrics``, of ``settings``, or ``none``."""
    metrics = [key for key in keys if series_name(key) is not None]
    sure = any(config_name(key) is None or normal(key) == "loss" for key in metrics)
    placed = any(normal(key) in EPOCH_KEYS for key in keys)
    if sure or (metrics and placed):
        return "metrics"
    return "settings" if any(map(config_name, keys)) else "none"


def parse(body: str) -> Row | None:
    """The pairs of a printed dict anywhere in a line; nested dicts are flattened."""
    output = _OUTPUT.search(body)
    pairs = list(_PAIR.finditer(body))
    if not pairs and output is None:
        return None
    row = Row(rest=body[: pairs[0].start()].rstrip(" {[(,:") if pairs else "")
    for match in pairs:
        if match["open"] is None:
            row.fields.setdefault(match["key"], _value(match))
    if output is not None:
        row.fields["train_loss"] = output["loss"]
        row.step = float(output["step"])
        row.rest = ""
    return row if row.fields else None


def _value(match: re.Match[str]) -> Any:
    for group in ("single", "double", "number"):
        if match[group] is not None:
            return match[group]
    return _WORDS[match["word"]]
