"""Steps that a gradient scaler skipped, and a loss scale that collapses."""

from __future__ import annotations

from typing import Any

from holter.guard.record import Record

FLOOR = 1.0  # a scale of 1 scales nothing: 16 halvings of the usual 65536
IN_A_ROW = 20  # skips in a row; the search from 65536 down to 1 takes 16


class ScalerWatch:
    """Counts skips. A few are how the scale is found; a scale at its floor, or twenty in a row, is a collapse."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.skips = self.in_a_row = 0
        self.collapsed = False
        self.scaler: Any = None

    @property
    def scale(self) -> float:
        """The loss scale now, 1.0 without a scaler; only read when something broke."""
        return float(self.scaler.get_scale()) if self.scaler is not None and self.scaler.is_enabled() else 1.0

    def stepped(self) -> None:
        """The optimizer stepped."""
        self.in_a_row = 0

    def skipped(self, scaler: Any, step: int) -> bool:
        """The scaler skipped; True when the scale has collapsed. The scaler reads its flag then, so this waits for
        nothing new."""
        self.skips += 1
        self.in_a_row += 1
        scale = float(scaler.get_scale())
        self.record.event("note", f"the scaler skipped a step at loss scale {scale:g}", step=step, loss_scale=scale)
        self.record.row(step, {"loss_scale": scale})
        self.record.fact("scaler.skipped_steps", self.skips)
        self.collapsed = self.in_a_row >= IN_A_ROW or (scale <= FLOOR and self.in_a_row > 1)
        if self.collapsed:
            self.record.fact("scaler.collapsed_at", scale)
        return self.collapsed
