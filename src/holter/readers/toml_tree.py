"""TOML to a `Tree`, with the line of every key; a file that breaks off gives what stands before."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import Any

from holter.patterns import regex
from holter.readers.tree import MAX_DEPTH, Node, Tree

tomllib: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

_DEEP_KEY = regex(rf"^\s*\[*\s*(?:[^\s.=#]+\s*\.\s*){{{MAX_DEPTH}}}", re.M)
TRIES = 40  # lines dropped from the end of a file that does not parse


def read_toml(text: str) -> Tree:
    """The table of ``text``."""
    tree, lines = Tree(), text.split("\n")
    value, first_error = None, ""
    if _DEEP_KEY.search(text):
        tree.faults.append((0, "this file", "its keys nest too deep"))
        return tree
    used = len(lines)
    for dropped in range(min(TRIES, len(lines)) + 1):
        used = len(lines) - dropped
        try:
            value = tomllib.loads("\n".join(lines[:used]))
            break
        except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
            first_error = first_error or str(error)
    if first_error:
        what = f"everything from line {used + 1} on" if value is not None else "this file"
        tree.faults.append((used + 1 if value is not None else 0, what, first_error))
    if value is not None:
        tree.documents.append(_Lines(lines).node(value, ""))
    return tree


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self.lines: dict[str, tuple[int, str]] = {}
        table = ""
        for number, line in enumerate(lines, start=1):
            if match := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
                table = match.group(1).replace('"', "")
            elif match := re.match(r"\s*([\w.\-\"' ]+?)\s*=\s*(.*)$", line):
                key = match.group(1).strip("\"'")
                self.lines.setdefault(f"{table}.{key}" if table else key, (number, match.group(2).strip()))

    def node(self, value: Any, path: str) -> Node:
        line, raw = self.lines.get(path, (0, ""))
        if isinstance(value, dict):
            pairs = ((str(k), self.node(v, f"{path}.{k}" if path else str(k))) for k, v in value.items())
            return Node(line=line, raw=raw, pairs=tuple(pairs))
        if isinstance(value, list):
            return Node(line=line, raw=raw, items=tuple(self.node(item, path) for item in value))
        kept = value if isinstance(value, (str, int, float, bool)) else str(value)
        return Node(value=kept, line=line, raw=raw or str(kept))
