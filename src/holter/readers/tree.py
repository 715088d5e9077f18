"""Settings files as one kind of tree, whatever their format: every value keeps its line and its text as written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_VALUES = 50_000  # a settings file holds hundreds; YAML anchors can stand for billions
MAX_DEPTH = 60  # no settings file nests deeper


class TooLarge(Exception):
    """Writing the tree out gives more values than any settings file has."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One value.

    Attributes:
        value: plain data of a scalar.
        line: 1-based, 0 where unknown.
        raw: as written, with a comment behind it.
        items: of a list.
        pairs: of a mapping, in file order.
        above: headings that were taken off it, each with a point.
    """

    value: Any = None
    line: int = 0
    raw: str = ""
    items: tuple[Node, ...] | None = None
    pairs: tuple[tuple[str, Node], ...] | None = None
    above: str = ""

    def get(self, key: str) -> Node | None:
        """The value of a key of a mapping; of several the last, as every loader has it."""
        return next((node for name, node in reversed(self.pairs or ()) if name == key), None)

    def keys(self) -> set[str]:
        """The keys of a mapping."""
        return {name for name, _ in self.pairs or ()}

    def plain(self, budget: Budget | None = None) -> Any:
        """Plain data; raises `TooLarge`."""
        budget = budget or Budget()
        budget.spend()
        if self.items is not None:
            return [item.plain(budget) for item in self.items]
        if self.pairs is not None:
            return {name: node.plain(budget) for name, node in self.pairs}
        return self.value

    @property
    def is_scalar(self) -> bool:
        """Whether it holds one value."""
        return self.items is None and self.pairs is None


@dataclass
class Budget:
    """Counts values that are written out; anchors make a small file stand for more than fits into memory."""

    left: int = MAX_VALUES

    def spend(self) -> None:
        """Count one; raises `TooLarge` when there are too many."""
        self.left -= 1
        if self.left < 0:
            raise TooLarge


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A value with its full key; lists of scalars are one value. ``above`` is as of `Node`."""

    key: str
    value: Any
    line: int
    raw: str
    above: str = ""

    @property
    def written(self) -> str:
        """The key by which it is found in its file."""
        return self.above + self.key


@dataclass(kw_only=True)
class Tree:
    """The documents of one file, and what could not be read: (line, what, why)."""

    documents: list[Node] = field(default_factory=list)
    faults: list[tuple[int, str, str]] = field(default_factory=list)


def flatten(
    node: Node, prefix: str = "", budget: Budget | None = None, depth: int = 0, above: str = ""
) -> Iterator[Entry]:
    """All values below a node with their dotted keys; of a key that occurs twice the last comes first."""
    budget = budget or Budget()
    budget.spend()
    above = above or node.above
    if depth > MAX_DEPTH:
        raise TooLarge
    if node.pairs is not None:
        for name, child in _last_first(node.pairs):
            yield from flatten(child, f"{prefix}.{name}" if prefix else name, budget, depth + 1, above)
        if not node.pairs and prefix:
            yield Entry(key=prefix, value={}, line=node.line, raw=node.raw, above=above)
    elif node.items is not None and not all(item.is_scalar for item in node.items):
        for number, child in enumerate(node.items):
            yield from flatten(child, f"{prefix}.{number}" if prefix else str(number), budget, depth + 1, above)
    else:
        yield Entry(key=prefix, value=node.plain(budget), line=node.line, raw=node.raw, above=above)


def _last_first(pairs: tuple[tuple[str, Node], ...]) -> list[tuple[str, Node]]:
    names = [name for name, _ in pairs]
    if len(set(names)) == len(names):
        return list(pairs)
    together: dict[str, list[tuple[str, Node]]] = {}
    for pair in pairs:
        together.setdefault(pair[0], []).append(pair)
    return [pair for same in together.values() for pair in reversed(same)]


def repeated(node: Node) -> Iterator[tuple[str, int, int]]:
    """Keys that occur twice in one mapping directly below ``node`` or in it: key, first line, last line."""
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        first: dict[str, int] = {}
        for name, child in current.pairs or ():
            if name in first:
                yield name, first[name], child.line
            first.setdefault(name, child.line)
            waiting.append(child)
        waiting.extend(current.items or ())
