"""Names a ratio as a product of known quantities: accumulation steps, processes, label counts and the like."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations, product

from holter.accounting.records import Factor

MAX_TERMS = 3  # more terms than this fit anything, and no library version has been seen to need them
EXPONENTS = (1, -1)
DISTINCT = 1e-9  # a term this close to 1 cannot explain anything


def name_factor(value: float, terms: Mapping[str, float], tolerance: float) -> Factor:
    """The product with the fewest terms within ``tolerance`` of ``value``.

    Args:
        value: the measured ratio; NaN and infinities are never named.
        terms: quantity -> its value, the likelier first; of products with equally many terms the first wins and the
            others become alternatives.
        tolerance: relative.
    """
    if not math.isfinite(value) or value <= 0:
        return Factor(value=value, terms={}, predicted=math.nan, named=False)
    if abs(value - 1) <= tolerance:
        return Factor(value=value, terms={}, predicted=1.0, named=True)
    usable = {k: v for k, v in terms.items() if math.isfinite(v) and v > 0 and abs(math.log(v)) > DISTINCT}
    for size in range(1, MAX_TERMS + 1):
        fits = [fit for fit in _products(usable, size) if abs(value / fit[1] - 1) <= tolerance]
        if fits:
            chosen = fits[0]
            same = tuple(fit[0] for fit in fits[1:])
            return Factor(value=value, terms=chosen[0], predicted=chosen[1], named=True, alternatives=same)
    return Factor(value=value, terms={}, predicted=math.nan, named=False)


def _products(terms: Mapping[str, float], size: int) -> Iterator[tuple[dict[str, int], float]]:
    for names in combinations(terms, size):
        for exponents in product(EXPONENTS, repeat=size):
            yield (
                dict(zip(names, exponents, strict=True)),
                math.prod(terms[n] ** e for n, e in zip(names, exponents, strict=True)),
            )
