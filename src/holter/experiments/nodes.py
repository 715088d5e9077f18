"""The nodes of an expression: functions of the runs in scope that give values, a truth, or None for unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from holter.run import Run

Values = list[float] | None
Truth = bool | None
Node = Callable[["Scope"], "list[float] | bool | None"]


@dataclass
class Scope:
    runs: Mapping[str, Run]
    values: dict[str, list[float]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def constant(value: float) -> Node:
    return lambda scope: [value]


def look_up(name: str, window: tuple[Callable[[float, float], bool], float] | None, text: str, *, whole: bool) -> Node:
    def node(scope: Scope) -> list[float] | None:
        found = logged(scope.runs, name, window, whole)
        if found:
            scope.values[text] = found
            return found
        scope.unknown.append(text)
        return None

    return node


def logged(
    runs: Mapping[str, Run], name: str, window: tuple[Callable[[float, float], bool], float] | None, whole: bool
) -> list[float]:
    prefix, _, rest = name.partition(".")
    run, key = (runs[prefix], rest) if rest and prefix in runs else (runs[""], name)
    series = run.series.get(key)
    if series is None or not len(series):
        value = run.fact(key) or run.setting(key)
        return [float(value.value)] if value is not None and isinstance(value.value, (int, float)) else []
    if window is None:
        return list(series.values) if whole else [series.values[-1]]
    inside, bound = window
    steps = [i + 1.0 if math.isnan(s) else s for i, s in enumerate(series.steps)]
    return [v for v, s in zip(series.values, steps, strict=True) if inside(s, bound)]


def combine(left: Node, right: Node, combine: Callable[[float, float], float]) -> Node:
    def node(scope: Scope) -> list[float] | None:
        a, b = as_values(left(scope)), as_values(right(scope))
        return None if a is None or b is None else [combine(x, y) for x in a for y in b]

    return node


def compare(left: Node, right: Node, holds: Callable[[float, float], bool]) -> Node:
    def node(scope: Scope) -> bool | None:
        a, b = as_values(left(scope)), as_values(right(scope))
        return None if a is None or b is None else any(holds(x, y) for x in a for y in b)

    return node


def each(inner: Node, change: Callable[[float], float]) -> Node:
    def node(scope: Scope) -> list[float] | None:
        values = as_values(inner(scope))
        return None if values is None else [change(v) for v in values]

    return node


def reduce(inner: Node, reduce: Callable[[list[float]], float]) -> Node:
    def node(scope: Scope) -> list[float] | None:
        values = as_values(inner(scope))
        return [reduce(values)] if values else None

    return node


def predicate(inner: Node, test: Callable[[list[float]], bool]) -> Node:
    def node(scope: Scope) -> bool | None:
        values = as_values(inner(scope))
        return test(values) if values else None

    return node


def and_(left: Node, right: Node) -> Node:
    def node(scope: Scope) -> bool | None:
        a, b = as_truth(left(scope)), as_truth(right(scope))
        if a is False or b is False:
            return False
        return None if a is None or b is None else True

    return node


def or_(left: Node, right: Node) -> Node:
    def node(scope: Scope) -> bool | None:
        a, b = as_truth(left(scope)), as_truth(right(scope))
        if a or b:
            return True
        return None if a is None or b is None else False

    return node


def not_(inner: Node) -> Node:
    def node(scope: Scope) -> bool | None:
        truth = as_truth(inner(scope))
        return None if truth is None else not truth

    return node


def as_values(found: list[float] | bool | None) -> Values:
    return found if isinstance(found, list) else None


def as_truth(found: list[float] | bool | None) -> Truth:
    return found if isinstance(found, bool) else None
