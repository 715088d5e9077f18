"""Headings that only say what stands below them, ``results:`` or ``training_args:``, and are part of no name."""

from __future__ import annotations

import re

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

_OWN = TITLES | (OWN - {"base", "defaults", "common", "solver", "experiment"})
MOST_TITLES = 4
"""Headings one inside the other."""


def is_title(key: str, *, alone: bool) -> bool:
    """Whether a heading says nothing about what stands below it.

    Args:
        key: as written.
        alone: all that was written stands below it, so that ``training:`` tells it from nothing else.
    """
    words = [word for word in re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()) if word]
    return bool(words) and (_OWN if alone else TITLES).issuperset(words)


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
        if not alone and not several:
            return node
        lifted = {key for key, child in pairs if child.pairs and is_title(key, alone=alone)}
        moved = tuple(
            pair for key, child in pairs for pair in (child.pairs or () if key in lifted else ((key, child),))
        )
        names = [key for key, _ in moved]
        if not lifted or len(set(names)) < len(names):
            return node
        node = Node(line=node.line, raw=node.raw, pairs=moved)
    return node


def _joined(node: Node) -> Node:
    """A list of mappings with one entry each, no key twice, as one mapping."""
    items = node.items or ()
    pairs = [pair for item in items for pair in item.pairs or ()]
    single = bool(items) and all(item.pairs is not None and len(item.pairs) == 1 for item in items)
    if not single or len({key for key, _ in pairs}) < len(pairs):
        return node
    return Node(line=node.line, raw=node.raw, pairs=tuple(pairs))
