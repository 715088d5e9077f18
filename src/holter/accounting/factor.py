"""Names a ratio as a product of known quantities: accumulation steps, processes, label counts and the like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, product

from holter.accounting.records import AUXILIARY, REPEATS, Factor

MAX_TERMS = 3  # more terms than this fit anything, and no library version has been seen to need them
EXPONENTS = (1, -1)
DISTINCT = 1e-9  # a term this close to 1 cannot explain anything

Combine = Callable[[float, float], float]
"""Ratio from the factor of the cross entropy and the factor of the auxiliary loss."""


def name_factor(value: float, terms: Mapping[str, float], tolerance: float, combine: Combine | None = None) -> Factor:
    """The product with the fewest terms within ``tolerance`` of ``value``.

    Args:
        value: the measured ratio; NaN and infinities are never named.
        terms: quantity -> its value, the likelier first; of products with equally many terms the first wins and the
            others become alternatives.
        tolerance: relative.
        combine: given where an auxiliary loss is part of the true loss, which may be off by a factor of its own.
    """
    if not math.isfinite(value) or value <= 0:
        return Factor(value=value, terms={}, predicted=math.nan, named=False)
    if abs(value - 1) <= tolerance:
        return Factor(value=value, terms={}, predicted=1.0, named=True)
    usable = {k: v for k, v in terms.items() if math.isfinite(v) and v > 0 and abs(math.log(v)) > DISTINCT}
    for size in range(1, MAX_TERMS + 1):
        fits = [fit for fit in _candidates(usable, size, combine) if abs(value / fit[1] - 1) <= tolerance]
        if fits:
            chosen = fits[0]
            same = tuple(fit[0] for fit in fits[1:])
            return Factor(value=value, terms=chosen[0], predicted=chosen[1], named=True, alternatives=same)
    return Factor(value=value, terms={}, predicted=math.nan, named=False)


def _candidates(
    terms: Mapping[str, float], size: int, combine: Combine | None
) -> Iterator[tuple[dict[str, int], float]]:
    """Products of ``size`` terms; where there is an auxiliary loss its own factor counts as a term."""
    if combine is None:
        yield from _products(terms, size)
        return
    for factors, main in _products(terms, size):
        yield factors, combine(main, main)  # the whole loss
    for factors, main in _products(terms, size - 1):
        for often, extra in _repeats(terms).items():
            predicted = combine(main, extra)
            if predicted > 0:
                yield {**factors, f"{AUXILIARY} {often}": 1}, predicted


def _repeats(terms: Mapping[str, float]) -> dict[str, float]:
    accumulation, processes = (terms.get(name, 1.0) for name in REPEATS)
    times = {"once": 1.0, f"x {REPEATS[0]}": accumulation, f"x {REPEATS[1]}": processes}
    times[f"x {REPEATS[0]} x {REPEATS[1]}"] = accumulation * processes
    times["left out"] = 0.0
    return {name: value for name, value in times.items() if name == "once" or value != 1.0}


def _products(terms: Mapping[str, float], size: int) -> Iterator[tuple[dict[str, int], float]]:
    for names in combinations(terms, size):
        for exponents in product(EXPONENTS, repeat=size):
            yield (
                dict(zip(names, exponents, strict=True)),
                math.prod(terms[n] ** e for n, e in zip(names, exponents, strict=True)),
            )
