"""Headings that only say what stands below them, ``results:`` or ``training_args:``, and are part of no name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from holter.names import OWN
from holter.readers.tree import Node

_TITLE_WORDS = """
result results observed observation observations observing metric metrics measured measurement measurements value
values number numbers fact facts summary report finding findings symptom symptoms probe probes stats statistics
details info outcome outcomes setup setting settings my our this the what how we i see saw seen got get is was it
happened happens of
"""
TITLES = frozenset(_TITLE_WORDS.split())
"""Words of a heading that leaves open whose, when and under what: what stands below it is the run's own."""

_OWN = TITLES | (OWN - {"base", "defaults", "common", "solver"})

_ARGUMENT_WORDS = "args arguments parameters params hyperparameters hparams"
_ARGUMENTS = frozenset(_ARGUMENT_WORDS.split())
"""Words for the settings of the run, also where other headings stand beside them."""

MOST_TITLES = 4
"""Headings one inside the other."""


def is_title(key: str, *, alone: bool) -> bool:
    """Whether a heading says nothing about what stands below it.

    Args:
        key: as written.
        alone: all that was written stands below it, so that ``training:`` tells it from nothing else.
    """
    words = _words(key)
    return bool(words) and (_is_of_arguments(key) or (_OWN if alone else TITLES).issuperset(words))


def _is_of_arguments(key: str) -> bool:
    words = _words(key)
    return not _ARGUMENTS.isdisjoint(words) and _OWN.issuperset(words)


def _words(key: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()) if word]


def untitled(node: Node, *, several: bool = False) -> Node:
    """The mapping without such headings: what stands below them moves up.

    Args:
        node: a document; one that is a list of single entries becomes the mapping that it stands for.
        several: headings beside others go as well, as long as no two keys become the same.
    """
    node = _joined(node)
    for _ in range(MOST_TITLES):
        pairs = node.pairs or ()
        alone = len(pairs) == 1
        lifted = {key for key, child in pairs if child.pairs and is_title(key, alone=alone)}
        if not alone and not several:
            lifted = {key for key in lifted if _is_of_arguments(key)}
        moved = tuple(
            pair for key, child in pairs for pair in (_lifted(key, child) if key in lifted else ((key, child),))
        )
        names = [key for key, _ in moved]
        if not lifted or len(set(names)) < len(names):
            return node
        node = Node(line=node.line, raw=node.raw, pairs=moved)
    return node


def _lifted(key: str, node: Node) -> Iterator[tuple[str, Node]]:
    """What stands below a heading; it is still found by it in its file."""
    return ((name, replace(child, above=f"{node.above}{key}.")) for name, child in node.pairs or ())


def _joined(node: Node) -> Node:
    """A list of mappings with one entry each, or of names with their values, no key twice, as one mapping."""
    items = node.items or ()
    pairs = [pair for item in items for pair in _pair(item)]
    if not items or len(pairs) < len(items) or len({key for key, _ in pairs}) < len(pairs):
        return node
    return Node(line=node.line, raw=node.raw, pairs=tuple(pairs))


def _pair(node: Node) -> tuple[tuple[str, Node], ...]:
    """The one entry of a mapping, also where it is written as ``name: lr, value: 1e-4``; empty for any other."""
    pairs = node.pairs or ()
    if len(pairs) == 1:
        return pairs
    name = next((child for key, child in pairs if key.lower() in _NAMES), None)
    value = next((child for key, child in pairs if key.lower() == "value"), None)
    if len(pairs) != 2 or name is None or value is None or not isinstance(name.value, str):
        return ()
    return ((name.value, value),)


_NAMES = frozenset({"name", "key", "parameter", "param", "metric", "quantity"})
