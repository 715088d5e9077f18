"""What a line grammar gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from holter.run import NAN


@dataclass(slots=True, kw_only=True)
class Row:
    """Numbers found in one line.

    Attributes:
        fields: key as printed -> number, or text that spells one.
        step: optimizer updates, NaN where the line does not say.
        epoch: epoch, NaN where the line does not say.
        within: batches done in this epoch and batches an epoch, where the line counts so.
        settings: settings the line states, such as a total number of steps; our names.
        rest: the part of the line that is not metrics, empty when there is none.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    step: float = NAN
    epoch: float = NAN
    within: tuple[float, float] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    rest: str = ""
