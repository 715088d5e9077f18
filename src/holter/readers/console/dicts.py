"""Dicts and JSON objects printed into a log, whole, cut off or without braces.

transformers 4.x prints ``{'loss': 0.0, 'grad_norm': nan}``, 5.x ``{'loss': '0.0', 'grad_norm': 'nan'}``; excerpts often
have lost a brace.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from holter.readers.console.row import Row
from holter.readers.numbers import NUMBER

_PAIR = re.compile(
    r"""(?P<quote>['"])(?P<key>[^'"\n{}]{1,160}?)(?P=quote)\s*[:=]\s*"""
    r"""(?:(?P<open>\{)|'(?P<single>[^'\n]*)'|"(?P<double>[^"\n]*)"|(?:[A-Za-z_][\w.]*\(\s*)?(?P<number>"""
    + NUMBER
    + r""")|(?P<word>True|False|None|true|false|null)\b)"""
)
_OUTPUT = re.compile(r"\b\w*Output\(global_step=(?P<step>\d+),\s*training_loss=(?P<loss>" + NUMBER + r")")
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
