"""Delta debugging: the smallest set of differences that carries a symptom.

The search is a pure function of the trials known so far, so it can be resumed after a kill, and trials that either
outcome of a running one would call for can be started ahead of time.

Most symptoms have one culprit: halving finds it in log2(n) trials, and one more confirms it. Where the one left over
does not carry the symptom, several act only together, and QuickXplain (Junker, AAAI 2004) finds k of them in about
2k log2(n/k) + 2k trials, as long as adding a difference never hides the symptom. Where that does not hold either,
ddmin (Zeller and Hildebrandt, TSE 2002) needs no such assumption. Of several culprits each is then left out once, so
that none is named that only came along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Subset = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where the search stands.

    Attributes:
        culprits: the smallest set found, None while trials are wanted.
        wanted: subsets to try now, the surely needed one first.
    """

    culprits: tuple[str, ...] | None = None
    wanted: tuple[Subset, ...] = ()


class _Unknown(Exception):
    def __init__(self, subset: Subset) -> None:
        self.subset = subset


def advance(candidates: Sequence[str], known: Mapping[Subset, bool], *, width: int = 1) -> Step:
    """The next trials, or the answer.

    Args:
        candidates: the differences, the likeliest and cheapest first; together they carry the symptom.
        known: subset -> whether the run with these differences, and no others, shows the symptom.
        width: how many trials can run at once; those beyond the first are guesses.

    Returns:
        The culprits in the order of ``candidates``, or up to ``width`` subsets to try.
    """
    facts = {frozenset(candidates): True, frozenset(): False, **known}
    try:
        return Step(culprits=_minimal(candidates, facts))
    except _Unknown as unknown:
        guesses = _speculate(candidates, facts, unknown.subset)
        return Step(wanted=tuple(subset for subset, _ in zip(guesses, range(width), strict=False)))


def _speculate(candidates: Sequence[str], facts: dict[Subset, bool], first: Subset) -> Iterator[Subset]:
    queue, seen = [(first, facts)], set()
    while queue:
        subset, assumed = queue.pop(0)
        if subset not in seen:
            seen.add(subset)
            yield subset
        for outcome in (True, False):
            further = {**assumed, subset: outcome}
            try:
                _minimal(candidates, further)
            except _Unknown as unknown:
                queue.append((unknown.subset, further))


def _minimal(candidates: Sequence[str], facts: Mapping[Subset, bool]) -> tuple[str, ...]:
    def shows(subset: Sequence[str]) -> bool:
        key = frozenset(subset)
        if key not in facts:
            raise _Unknown(key)
        return facts[key]

    found = [_bisect(shows, list(candidates))]
    if not shows(found):
        found = _quick(shows, [], False, list(candidates))
    if not shows(found):
        found = _ddmin(shows, list(candidates))
    found = _without_passengers(shows, found)
    return tuple(c for c in candidates if c in set(found))


def _bisect(shows: Callable[[Sequence[str]], bool], candidates: list[str]) -> str:
    while len(candidates) > 1:
        half = candidates[: len(candidates) // 2]
        candidates = half if shows(half) else candidates[len(half) :]
    return candidates[0]


def _without_passengers(shows: Callable[[Sequence[str]], bool], found: list[str]) -> list[str]:
    for one in found:
        rest = [other for other in found if other != one]
        if rest and shows(rest):
            return _without_passengers(shows, rest)
    return found


def _quick(
    shows: Callable[[Sequence[str]], bool], background: list[str], grown: bool, candidates: list[str]
) -> list[str]:
    if grown and shows(background):
        return []
    if len(candidates) <= 1:
        return candidates
    half = len(candidates) // 2
    first, second = candidates[:half], candidates[half:]
    from_second = _quick(shows, background + first, True, second)
    from_first = _quick(shows, background + from_second, bool(from_second), first)
    return from_first + from_second


def _ddmin(shows: Callable[[Sequence[str]], bool], candidates: list[str]) -> list[str]:
    pieces = 2
    while len(candidates) > 1:
        reduced = _reduce_once(shows, candidates, pieces)
        if reduced is not None:
            candidates, pieces = reduced[0], reduced[1]
        elif pieces >= len(candidates):
            break
        else:
            pieces = min(2 * pieces, len(candidates))
    return candidates


def _reduce_once(
    shows: Callable[[Sequence[str]], bool], candidates: list[str], pieces: int
) -> tuple[list[str], int] | None:
    bounds = [round(i * len(candidates) / pieces) for i in range(pieces + 1)]
    parts = [candidates[a:b] for a, b in pairwise(bounds)]
    for part in parts:
        if shows(part):
            return part, 2
    for part in parts:
        rest = [c for c in candidates if c not in part]
        if rest and shows(rest):
            return rest, max(pieces - 1, 2)
    return None
