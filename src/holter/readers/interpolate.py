"""Resolves ``${key}`` references of OmegaConf and Kedro where the key is known; the rest stays as written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from holter.names import meaning_of
from holter.patterns import regex
from holter.readers.titles import is_title
from holter.readers.tree import MAX_VALUES, Node
from holter.run import Run, Value
from holter.values import add, is_reference

MAX_CHAIN = 8  # references to references; people write one or two
MAX_RESOLVED = 10_000  # characters; a few references that each hold several others stand for more than fits in memory

_REFERENCE = regex(r"\$\{(?:globals:|oc\.select:|parameters:|params:)?\s*\.*([\w.\-]+)\s*(?:,\s*([^${}]*))?\}")

Lookup = Callable[[str], Any]


class _Missing:
    pass


MISSING = _Missing()


def resolve(text: str, lookup: Lookup) -> Any:
    """``text`` with its references replaced; a text that is one reference takes the value's own type.

    Args:
        text: as written.
        lookup: key -> plain value, or `MISSING`.
    """
    for _ in range(MAX_CHAIN):
        whole = _REFERENCE.fullmatch(text.strip())
        if whole is not None:
            found = _value(whole, lookup)
            if not isinstance(found, str):
                return text if found is MISSING else found
            changed = found
        else:
            changed = _REFERENCE.sub(lambda match: _as_text(_value(match, lookup), match), text)
        if changed == text or len(changed) > MAX_RESOLVED:
            break
        text = changed
    return text


def _value(match: re.Match[str], lookup: Lookup) -> Any:
    found = lookup(match.group(1))
    if found is MISSING and match.group(2) is not None:
        from holter.readers.base import literal

        return literal(match.group(2))
    return found


def _as_text(value: Any, match: re.Match[str]) -> str:
    return match.group() if value is MISSING or isinstance(value, (dict, list)) else str(value)


def resolve_tree(root: Node) -> Node:
    """A document with the references to its own keys resolved."""
    seen: dict[int, Node] = {}

    def lookup(key: str) -> Any:
        node: Node | None = root
        for part in key.split("."):
            node = node.get(part) if node is not None else None
        return node.value if node is not None and node.is_scalar else MISSING

    def visit(node: Node) -> Node:
        if id(node) in seen or len(seen) > MAX_VALUES:
            return seen.get(id(node), node)
        if node.pairs is not None:
            made = replace(node, pairs=tuple((key, visit(child)) for key, child in node.pairs))
        elif node.items is not None:
            made = replace(node, items=tuple(visit(item) for item in node.items))
        elif isinstance(node.value, str) and "${" in node.value:
            made = replace(node, value=resolve(node.value, lookup))
        else:
            made = node
        seen[id(node)] = made
        return made

    return visit(root)


def prefer_environment(run: Run) -> None:
    """Of Kedro's ``conf/base`` and ``conf/local`` (or another environment) the latter is believed; both are kept."""
    for values in run.config.values():
        if any(_is_base(value) for value in values):
            values.sort(key=lambda value: (-value.authority, _is_base(value)))


def _is_base(value: Value) -> bool:
    return "/conf/base/" in f"/{value.source.file}"


def resolve_run(run: Run) -> None:
    """Resolve references between files, once all files are merged: Kedro's ``globals.yml`` and ``parameters``."""
    known: dict[str, Any] = {}
    for values in run.config.values():
        for value in values:
            if value.source.key and not is_reference(value.value):
                known.setdefault(value.source.key, value.value)

    def lookup(key: str) -> Any:
        while key not in known and "." in key and is_title(key.partition(".")[0], alone=True):
            key = key.partition(".")[2]
        return known.get(key, MISSING)

    for name in list(run.config):
        waiting = [value for value in run.config[name] if is_reference(value.value)]
        if waiting:
            _settle(run, name, waiting, lookup)


def _settle(run: Run, name: str, waiting: list[Value], lookup: Lookup) -> None:
    """Take out the values that are references and add them again, resolved or, where they are not, as text."""
    kept = [value for value in run.config.pop(name) if not is_reference(value.value)]
    for value in kept:
        run.add_setting(name, value)
    for value in waiting:
        found = resolve(value.value, lookup)
        if not is_reference(found):
            add(run, name, found, template=value)
        elif meaning_of(name) is None:
            run.add_setting(name, value)
        else:
            run.add_fact(name, value)
