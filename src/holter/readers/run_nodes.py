"""Runs side by side in a tree: a list of mappings, named mappings, or a list a column, below a heading or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from holter.names import config_name, series_name
from holter.readers.side_by_side import (
    MOST_RUNS,
    Cells,
    add_rows,
    compares,
    is_of_runs,
    is_outcome,
    only_count,
    with_names,
)
from holter.readers.titles import untitled
from holter.readers.tree import Budget, Entry, Node, flatten
from holter.run import Gap, Run, Source

MAX_ROWS = 1_000
"""Runs of one table that are compared, each with each."""

DEEPEST = 3
"""Headings above the runs."""

Rows = list[Cells]


def add_runs_of(run: Run, document: Node, place: Source) -> None:
    """Add the rows of a file that is called a table of runs, whatever its form; raises `TooLarge`."""
    rows = list(islice(_all_rows(document, Budget()), MAX_ROWS + 1))
    if not rows:
        run.gaps.append(
            Gap(
                source=place,
                what="the runs of this file",
                why="it holds neither a list of mappings nor a mapping of them",
                do="write one mapping a run, each behind a dash",
            )
        )
    if len(rows) > MAX_ROWS:
        why = "tables of runs that people write hold dozens; rows of one run belong into a log"
        run.gaps.append(Gap(source=place, what=f"the runs after the first {MAX_ROWS:,}", why=why))
    add_rows(run, rows[:MAX_ROWS], place)


def without_runs(run: Run, document: Node, place: Source, *, several: bool = False) -> Node:
    """Add the rows of tables of runs that stand within a document, and hand back the rest; raises `TooLarge`.

    Args:
        run: where to.
        document: of any file; headings that are part of no name are taken off.
        place: the file.
        several: see `untitled`.
    """
    document = untitled(document, several=several)
    called, budget = is_of_runs(place.file), Budget()
    table = _table(document, budget) if called or document.items is not None else []
    if table and _compares(table, document, called=called, strict=not called):
        add_rows(run, table, place)
        return Node(line=document.line, pairs=())
    return document if document.items is not None else _rest(run, document, place, called, DEEPEST, budget)


def _rest(run: Run, node: Node, place: Source, among: bool, depth: int, budget: Budget) -> Node:
    """What is left of a mapping; ``among``: the file or a heading above is called one of runs."""
    kept: list[tuple[str, Node]] = []
    for key, child in node.pairs or ():
        called = is_of_runs(key)
        table = _table(child, budget) if child.items or called else []
        if table and _compares(table, child, called=called, strict=not (called or among)):
            add_rows(run, table, place)
        elif child.pairs and depth > 1:
            rest = _rest(run, child, place, called or among, depth - 1, budget)
            kept += [(key, rest)] if rest.pairs else []
        else:
            kept.append((key, child))
    same = len(kept) == len(node.pairs or ()) and all(
        old[1] is new[1] for old, new in zip(node.pairs or (), kept, strict=True)
    )
    return node if same else Node(line=node.line, raw=node.raw, pairs=tuple(kept))


def _compares(table: Rows, node: Node, *, called: bool, strict: bool) -> bool:
    """Named mappings are runs only where they say what came of them, or are counted: a search space has names too."""
    if node.pairs is not None:
        alike = set.intersection(*({entry.key for entry in row} for row in table))
        return called and (compares(table) or (bool(alike) and only_count([key for key, _ in node.pairs])))
    return compares(table, called=called, strict=strict)


def _table(node: Node, budget: Budget) -> Rows:
    """The rows of a list of mappings or of named mappings, empty for anything else."""
    if node.items:
        if len(node.items) > MOST_RUNS or any(item.pairs is None for item in node.items):
            return []
        return [_cells(item, budget) for item in node.items]
    pairs = node.pairs or ()
    if len(pairs) < 2 or len(pairs) > MOST_RUNS or any(child.pairs is None for _, child in pairs):
        return []
    return with_names([(key, child.line, _cells(child, budget)) for key, child in pairs])


def _all_rows(node: Node, budget: Budget, name: str = "", depth: int = DEEPEST) -> Iterator[Cells]:
    """The rows of a tree that holds nothing but runs; single values beside them belong to each."""
    if node.items is not None:
        rows = (_cells(item, budget) for item in node.items if item.pairs is not None)
        yield from (with_names([(name, node.line, row)])[0] if name else row for row in rows)
        return
    pairs = node.pairs or ()
    columns = _columns(pairs, budget)
    if columns:
        yield from columns
        return
    shared = [entry for key, child in pairs if child.is_scalar for entry in flatten(child, key, budget)]
    single: list[tuple[str, int, Cells]] = []
    for key, child in _by_run(pairs):
        if _holds_runs(child, depth, budget):
            for row in _all_rows(child, budget, "" if is_of_runs(key) or len(pairs) == 1 else key, depth - 1):
                yield [*row, *shared]
        elif child.pairs is not None:
            single.append((key, child.line, _cells(child, budget)))
    yield from ([*row, *shared] for row in with_names(single))


def _holds_runs(node: Node, depth: int, budget: Budget) -> bool:
    """Whether what stands below a key are runs, not one run."""
    below = node.items or [inner for _, inner in node.pairs or ()]
    if depth > 1 and below and all(not inner.is_scalar for inner in below):
        return True
    return bool(node.pairs and _columns(node.pairs, budget))


def _by_run(pairs: Sequence[tuple[str, Node]]) -> Sequence[tuple[str, Node]]:
    """Named mappings with the runs outside, also where the quantities stand there: ``loss: {a: 1.2, b: nan}``."""
    inner = [child.keys() for _, child in pairs]
    alike = len(pairs) > 1 and all(len(keys) > 1 and keys == inner[0] for keys in inner)
    if not alike or not all(series_name(key) or config_name(key) or is_outcome(key) for key, _ in pairs):
        return pairs
    if any(series_name(key) or is_outcome(key) for key in inner[0]):
        return pairs
    runs = [name for name, _ in pairs[0][1].pairs or ()]
    return [(name, Node(pairs=tuple((key, child.get(name) or Node()) for key, child in pairs))) for name in runs]


def _columns(pairs: Sequence[tuple[str, Node]], budget: Budget) -> Rows:
    """The rows of a list a column, all of one length; empty for anything else."""
    lengths = {len(child.items) if child.items is not None else 0 for _, child in pairs}
    if len(pairs) < 2 or len(lengths) != 1 or not 2 <= max(lengths) <= MAX_ROWS:
        return []
    lists = [(key, child.items or ()) for key, child in pairs]
    if any(item.pairs is not None for _, items in lists for item in items):
        return []
    return [
        [entry for key, items in lists if not _is_hole(items[at]) for entry in flatten(items[at], key, budget)]
        for at in range(max(lengths))
    ]


def _is_hole(node: Node) -> bool:
    """A null in a list a column says that the run was not given it."""
    return node.is_scalar and node.value is None


def _cells(node: Node, budget: Budget) -> Cells:
    found: dict[str, Entry] = {}
    for entry in flatten(untitled(node, several=True), budget=budget):
        found.setdefault(entry.key, entry)
    return list(found.values())
