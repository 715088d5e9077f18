"""Patches JSON: DeepSpeed files, adapter and model configurations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from holter.fixes.patch import Edit
from holter.fixes.spans import Path, Span, json_spans, replace


def patch(text: str, edits: Sequence[Edit]) -> str:
    """The text with each edit made and nothing else touched.

    Raises:
        ValueError: the text is not JSON, or an object that an edit needs is missing.
    """
    for edit in edits:
        text = _patch_one(text, edit)
    return text


def _patch_one(text: str, edit: Edit) -> str:
    spans = json_spans(text)
    path = _find(spans, edit.spelling or edit.key)
    if path is not None:
        start, end = spans[path]
        return replace(text, [Span(start=start, end=end, new=spell(edit.new))])
    return _insert(text, spans, edit)


def spell(value: Any) -> str:
    """A value as JSON writes it."""
    return json.dumps(value, ensure_ascii=False)


def _find(spans: dict[Path, tuple[int, int]], spelling: str) -> Path | None:
    wanted = tuple(spelling.split("."))
    exact = [p for p in spans if tuple(str(part) for part in p) == wanted]
    return exact[0] if exact else None


def _insert(text: str, spans: dict[Path, tuple[int, int]], edit: Edit) -> str:
    *parents, name = (edit.spelling or edit.key).split(".")
    start = _object(text, spans, tuple(parents))
    after = text[start + 1 :]
    indent = after[: len(after) - len(after.lstrip())]
    empty = after.lstrip().startswith("}")
    entry = f"{spell(name)}: {spell(edit.new)}"
    if empty:
        return text[: start + 1] + entry + text[start + 1 :]
    joint = "," + (indent or " ") if "\n" not in indent else ","
    return text[: start + 1] + (indent if "\n" in indent else "") + entry + joint + text[start + 1 :]


def _object(text: str, spans: dict[Path, tuple[int, int]], path: Path) -> int:
    found = spans.get(path)
    if found is None or text[found[0]] != "{":
        where = ".".join(map(str, path)) or "the file"
        raise ValueError(f"{where} is not an object")
    return found[0]
