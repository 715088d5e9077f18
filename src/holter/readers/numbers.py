"""Numbers as training tools print them."""

from __future__ import annotations

import math

from holter.patterns import regex

NUMBER = (
    r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"
    r"|(?:[Nn]a[Nn]|NAN|[Ii]nf(?:inity)?|INF)(?![A-Za-z_]))"
)
"""A number with or without thousands separators and exponent, or a spelling of nan and infinity."""

_WHOLE = regex(NUMBER)
_WRAPPED = regex(rf"(?:[~≈<>≤≥]=?\s*|\*\*|`)*({NUMBER})\s*(%?)(?:\*\*|`)*")
_OF = regex(r"(\d+)\s*/\s*\d+")


MOST_DIGITS = 300
"""Digits of a whole number that a float can still hold (up to 1.8e308); longer ones are infinite to every check."""


def whole(text: str) -> int | float:
    """The whole number that some digits spell, with infinity for one that no float can hold."""
    return int(text) if len(text) <= MOST_DIGITS else float(text)


def number(text: str) -> float | None:
    """The number a text spells, or None: ``1,234.5``, ``1e-5``, ``nan``, ``-inf``."""
    stripped = text.strip()
    try:
        if "_" not in stripped:
            return float(stripped)
    except ValueError:
        pass
    if not _WHOLE.fullmatch(stripped):
        return None
    return float(stripped.replace(",", ""))


def cell_number(text: str) -> float | None:
    """The number in a table cell, with emphasis, ``~``, ``<`` or a percent sign around it; None for words."""
    stripped = text.strip()
    plain = number(stripped)
    if plain is not None:
        return plain
    match = _WRAPPED.fullmatch(stripped)
    return number(match[1]) if match else None


def progress(text: str) -> float | None:
    """The first number of ``12/100``, or the number itself; None for anything else."""
    match = _OF.fullmatch(text.strip())
    return float(match[1]) if match else number(text)


def says_more(value: float, text: str) -> bool:
    """Whether the text tells something the number does not: rounded to zero, not finite, or a bound."""
    return value == 0 or not math.isfinite(value) or text.strip()[:1] in "<>~≈≤≥"
