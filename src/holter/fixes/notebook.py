"""Patches notebook cells: only the changed lines of one cell's source are rewritten; the rest is byte-identical."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import SequenceMatcher

from holter.fixes import python_file, shell
from holter.fixes.patch import Edit
from holter.fixes.spans import Path, Span, json_spans, replace


def patch(text: str, edits: Sequence[Edit]) -> str:
    """The text with each edit made in its cell.

    Raises:
        ValueError: the text is not a notebook, or no cell has a place for an edit.
    """
    for edit in edits:
        text = _patch_one(text, edit)
    return text


def _patch_one(text: str, edit: Edit) -> str:
    spans = json_spans(text)
    notebook = json.loads(text)
    cells = notebook.get("cells", [])
    numbers = [edit.cell] if edit.cell else range(1, len(cells) + 1)
    reasons = []
    for number in numbers:
        if number is None or not 0 < number <= len(cells) or cells[number - 1].get("cell_type") != "code":
            continue
        source = cells[number - 1].get("source", [])
        before = source if isinstance(source, str) else "".join(source)
        try:
            after = _patch_source(before, edit)
        except ValueError as error:
            reasons.append(str(error))
            continue
        return _write_source(text, spans, ("cells", number - 1, "source"), source, after)
    raise ValueError("; ".join(dict.fromkeys(reasons)) or "there is no such code cell")


def _patch_source(source: str, edit: Edit) -> str:
    try:
        return python_file.patch(source, [edit])
    except ValueError:
        if "!" not in source:
            raise
        return shell.patch(source, [edit])


def _write_source(
    text: str, spans: dict[Path, tuple[int, int]], path: Path, source: str | list[str], after: str
) -> str:
    ascii_only = text.isascii()
    if isinstance(source, str):
        start, end = spans[path]
        return replace(text, [Span(start=start, end=end, new=json.dumps(after, ensure_ascii=ascii_only))])
    lines = after.splitlines(keepends=True)
    edits: list[Span] = []
    for tag, a, b, c, d in SequenceMatcher(None, source, lines, autojunk=False).get_opcodes():
        if tag != "equal":
            new = [json.dumps(line, ensure_ascii=ascii_only) for line in lines[c:d]]
            edits.append(_lines_span(text, spans, path, (a, b), new))
    return replace(text, edits)


def _lines_span(
    text: str, spans: dict[Path, tuple[int, int]], path: Path, old: tuple[int, int], new: list[str]
) -> Span:
    first, last = old

    def place(line: int) -> tuple[int, int]:
        whole: Path = (*path, line)
        return spans[whole]

    joint = _joint(text, spans, path)
    if first < last:
        return Span(start=place(first)[0], end=place(last - 1)[1], new=joint.join(new))
    if first > 0:
        at = place(first - 1)[1]
        return Span(start=at, end=at, new=joint + joint.join(new))
    at = place(0)[0]
    return Span(start=at, end=at, new=joint.join(new) + joint)


def _joint(text: str, spans: dict[Path, tuple[int, int]], path: Path) -> str:
    first, second = spans.get((*path, 0)), spans.get((*path, 1))
    return text[first[1] : second[0]] if first and second else ", "
