"""YAML to a `Tree`, composed but never constructed: a tag that names a Python object stays text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from holter.patterns import regex
from holter.readers.numbers import MOST_DIGITS
from holter.readers.tree import MAX_DEPTH, MAX_VALUES, Node, Tree

CORE = "tag:yaml.org,2002:"
MAX_RAW = 200  # characters of a value kept as written
MAX_TRIES = 40  # ends that are tried in a file that breaks off: more would only show that it is broken throughout

_BOOLS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_ENTRY = regex(r"\s*(?:- |[\w.\-]+:(?:\s|$))")
_SEXAGESIMAL = regex(r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?")


def read_yaml(text: str) -> Tree:
    """All documents of ``text``; a file that breaks off gives those up to there and a fault."""
    tree, lines = Tree(), text.split("\n")
    if sum(map(_starts_entry, lines)) > MAX_VALUES:
        tree.faults.append((0, "this file", "it holds more values than any settings file does"))
        return tree
    try:
        for root in _roots(text):
            tree.documents.append(_Composer(lines, tree).node(root))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        _salvage(lines, line, tree, str(error.problem or error.context or "it is not YAML"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        why = "it nests too deep" if isinstance(error, RecursionError) else str(error).split("\n")[0]
        _salvage(lines, len(lines), tree, why)
    return tree


def _starts_entry(line: str) -> bool:
    """Whether a line holds a key with its value, or an entry of a list."""
    return _ENTRY.match(line) is not None


def _roots(text: str) -> Iterator[yaml.Node]:
    deep = _depth(text) > MAX_DEPTH  # the C parser recurses without a limit of its own
    if deep:
        raise RecursionError
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = kind(text)
    try:
        while loader.check_node():
            root = loader.get_node()
            if isinstance(root, yaml.Node):
                yield root
    finally:
        loader.dispose()


def _depth(text: str) -> int:
    """An upper bound of how deep flow brackets and block indentation nest."""
    deepest = level = 0
    for bracket in re.findall(r"[\[{\]}]", text):
        level = max(0, level + (1 if bracket in "[{" else -1))
        deepest = max(deepest, level)
    dashes = max((len(match) for match in re.findall(r"^\s*((?:- )+)", text, re.M)), default=0) // 2
    indents = len({len(line) - len(line.lstrip(" ")) for line in text.split("\n") if line.strip()})
    return max(deepest, dashes, indents if indents > MAX_DEPTH else 0)


def _salvage(lines: list[str], line: int, tree: Tree, why: str) -> None:
    """Read what stands before the first line at which the parser gave up."""
    tree.faults.append((line, f"everything from line {line} on" if line else "the rest of the file", why))
    cut = line - 1
    for _ in range(MAX_TRIES):
        if cut <= 0:
            return
        try:
            for root in _roots("\n".join(lines[:cut])):
                tree.documents.append(_Composer(lines, tree).node(root))
            return
        except (yaml.YAMLError, RecursionError, ValueError):
            tree.documents.clear()
            cut = _top_level_before(lines, cut)


def _top_level_before(lines: list[str], line: int) -> int:
    """Number of lines before the last top-level entry that starts before ``line``."""
    for at in range(min(line, len(lines)) - 1, 0, -1):
        if lines[at] and not lines[at][0].isspace() and not lines[at].startswith(("#", "]", "}")):
            return at
    return 0


class _Composer:
    """Turns composed nodes into ours; an alias gives the very same node again, so nothing multiplies."""

    def __init__(self, lines: list[str], tree: Tree) -> None:
        self.lines, self.tree = lines, tree
        self.done: dict[int, Node] = {}
        self.open: set[int] = set()

    def node(self, composed: yaml.Node | None) -> Node:
        if composed is None:
            return Node()
        if id(composed) in self.done:
            return self.done[id(composed)]
        line = composed.start_mark.line + 1
        if id(composed) in self.open:
            self.tree.faults.append((line, "a value that contains itself", "an anchor refers to what it is part of"))
            return Node(value=None, line=line, raw="*")
        self.open.add(id(composed))
        made = self._make(composed, line)
        self.open.discard(id(composed))
        self.done[id(composed)] = made
        return made

    def _make(self, composed: yaml.Node, line: int) -> Node:
        raw = self._raw(composed)
        if not composed.tag.startswith(CORE) or composed.tag.startswith(CORE + "python"):
            tag = composed.tag.replace(CORE, "!!")
            self.tree.faults.append((line, f"the object that {tag} stands for", "nothing that is read is constructed"))
            return Node(value=raw if raw.startswith("!") else f"{tag} {raw}".strip(), line=line, raw=raw)
        if isinstance(composed, yaml.MappingNode):
            return Node(line=line, raw=raw, pairs=tuple(self._pairs(composed)))
        if isinstance(composed, yaml.SequenceNode):
            return Node(line=line, raw=raw, items=tuple(self.node(item) for item in composed.value))
        return Node(value=_scalar(composed.tag.removeprefix(CORE), str(composed.value)), line=line, raw=raw)

    def _pairs(self, composed: yaml.MappingNode) -> Iterator[tuple[str, Node]]:
        own: list[tuple[str, Node]] = []
        merged: list[tuple[str, Node]] = []
        for key, value in composed.value:
            if key.tag == CORE + "merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    merged.extend(self.node(source).pairs or ())
            else:
                name = key.value if isinstance(key, yaml.ScalarNode) else str(self._raw(key))
                own.append((str(name), self.node(value)))
        given = {name for name, _ in own}
        seen: set[str] = set()
        for name, node in merged:
            if name not in given and name not in seen:
                seen.add(name)
                yield name, node
        yield from own

    def _raw(self, composed: yaml.Node) -> str:
        """The text from the start of a value to its end, with a comment behind it; the first line of a long one."""
        start, end = composed.start_mark, composed.end_mark
        if start.line >= len(self.lines):
            return ""
        first = self.lines[start.line]
        if end.line != start.line:
            return first[start.column :].strip()[:MAX_RAW]
        behind = first[end.column :].strip()
        text = first[start.column : end.column].strip()
        return (f"{text}  {behind}" if behind.startswith("#") else text)[:MAX_RAW]


def _scalar(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return _BOOLS.get(text.lower(), text)
    if kind in ("int", "float"):
        return _number(text)
    return text


def _number(text: str) -> Any:
    bare = text.replace("_", "").lower()
    if _SEXAGESIMAL.fullmatch(bare):
        return text
    if bare.lstrip("+-") in (".inf", ".nan"):
        return float(bare.replace(".", ""))
    if len(bare) > MOST_DIGITS:
        return text
    try:
        return int(bare, 0)
    except ValueError:
        pass
    for kind in (int, float):
        try:
            return kind(bare)
        except ValueError:
            continue
    return text
