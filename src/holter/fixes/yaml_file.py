"""Patches YAML: comments, anchors, order and quoting of everything else stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from holter.fixes.json_file import spell as spell_json
from holter.fixes.patch import Edit
from holter.fixes.spans import Span, replace

_PROPERTIES = re.compile(r"(?:[&!][^\s,\]}]*\s+)+")
_PLAIN = re.compile(r"(?:[A-Za-z_]|\d+-)[\w./-]*\Z")


def patch(text: str, edits: Sequence[Edit]) -> str:
    """The text with each edit made and nothing else touched.

    Raises:
        ValueError: the text is not YAML, or has no mapping at the place of an edit.
    """
    for edit in edits:
        text = _patch_one(text, edit)
    return text


def _patch_one(text: str, edit: Edit) -> str:
    try:
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
    places = [place for document in documents if document for place in _places(document, ())]
    wanted = edit.spelling or edit.key
    matches = [(key, value) for path, key, value in places if path == wanted]
    if edit.line is not None:
        matches = [m for m in matches if m[0].start_mark.line + 1 == edit.line] or matches
    if matches:
        return _set(text, matches[-1][1], edit.new)
    return _insert(text, documents, edit)


def _places(node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Every key of the text with its path; what an alias repeats is found where it is defined, which comes first."""
    seen: set[int] = set()
    todo: list[tuple[yaml.Node, tuple[str, ...]]] = [(node, path)]
    while todo:
        current, at = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, yaml.MappingNode):
            for key, value in current.value:
                below = (*at, str(key.value))
                yield ".".join(below), key, value
                todo.append((value, below))
        elif isinstance(current, yaml.SequenceNode):
            todo.extend((item, (*at, str(i))) for i, item in enumerate(current.value))


def _set(text: str, node: yaml.Node, new: Any) -> str:
    start, end = node.start_mark.index, node.end_mark.index
    properties = _PROPERTIES.match(text, start, end)
    start = properties.end() if properties else start
    if not isinstance(node, yaml.ScalarNode):
        end = start + len(text[start:end].rstrip())
    return replace(text, [Span(start=start, end=end, new=spell(new))])


def spell(value: Any) -> str:
    """A value as YAML writes it, readable as the same value by YAML 1.1 and 1.2."""
    if isinstance(value, str):
        same = _PLAIN.match(value) and yaml.safe_load(value) == value
        return value if same else _quoted(value)
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    return spell_json(value)


def _quoted(value: str) -> str:
    written: str = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))
    return written.rstrip("\n")


def _insert(text: str, documents: Sequence[yaml.Node | None], edit: Edit) -> str:
    *parents, name = (edit.spelling or edit.key).split(".")
    mapping = _mapping(documents, parents)
    if mapping is None:
        raise ValueError(f"there is no mapping {'.'.join(parents) or 'at the top'}")
    if mapping.flow_style and mapping.value:
        at = mapping.value[0][0].start_mark.index
        return text[:at] + f"{name}: {spell(edit.new)}, " + text[at:]
    last_key = mapping.value[-1][0]
    indent = " " * last_key.start_mark.column
    line_start = text.rfind("\n", 0, mapping.value[0][0].start_mark.index) + 1
    entry = f"{indent}{name}: {spell(edit.new)}" + ("\r\n" if "\r\n" in text else "\n")
    return text[:line_start] + entry + text[line_start:]


def _mapping(documents: Sequence[yaml.Node | None], parents: Sequence[str]) -> yaml.MappingNode | None:
    node: yaml.Node | None = next((d for d in documents if isinstance(d, yaml.MappingNode)), None)
    for name in parents:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for key, value in node.value if key.value == name), None)
    return node if isinstance(node, yaml.MappingNode) and node.value else None
