"""The table of causes: one entry a cause, one file a family. Ranking, exclusion and ``explain`` come from the entry."""

from __future__ import annotations

from holter.diagnosis.cause import Cause
from holter.diagnosis.causes import adapters, devices, labels, optimisation, precision, schedule, tokens

FAMILIES = {
    "numbers and precision": precision.CAUSES,
    "labels and data": labels.CAUSES,
    "tokens, padding, attention": tokens.CAUSES,
    "optimisation": optimisation.CAUSES,
    "schedule": schedule.CAUSES,
    "trainable parts and loading": adapters.CAUSES,
    "devices, tools, libraries": devices.CAUSES,
}
"""Family -> its causes, in the order of the manual."""

CAUSES: dict[str, Cause] = {cause.label: cause for family in FAMILIES.values() for cause in family}
"""Label -> cause."""


def cause(label: str) -> Cause:
    """The entry of a label.

    Raises:
        KeyError: no such cause.
    """
    return CAUSES[label]


def same_cause(left: str, right: str) -> bool:
    """Whether two labels are equal or name nearly the same thing."""
    return left == right or right in CAUSES[left].overlaps
