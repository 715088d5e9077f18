"""How far the run is, pieced together from progress bars, ``Epoch 3`` lines and counts within an epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from holter.readers.console.bars import Bar
from holter.readers.console.row import Row
from holter.run import NAN

MAX_HEADING = 60  # characters of a line that only announces an epoch


@dataclass
class Place:
    """Where the log is.

    Attributes:
        step: the step the Trainer's progress bar last showed, NaN without one.
        epoch: the epoch last announced, NaN without one.
        total: steps of the whole run by that bar, NaN without one.
        last: the line number of the bar seen last, and the bar.
    """

    step: float = NAN
    epoch: float = NAN
    total: float = NAN
    last: tuple[int, Bar] | None = None
    _first_epoch: float = field(default=NAN, repr=False)
    _used: float = field(default=NAN, repr=False)

    def see_bar(self, line: int, bar: Bar) -> bool:
        """Note a bar; whether it is the bar of the run: one without a title, of the first total seen."""
        if bar.title or not self.move(bar.done, bar.total):
            return False
        self.last = (line, bar)
        if bar.epoch is not None:
            self.epoch = bar.epoch
        return True

    def move(self, done: float, total: float) -> bool:
        """Note how far a bar without a title is; False when it is not the bar of the run."""
        if total != self.total and (total <= 1 or not math.isnan(self.total) or math.isinf(total)):
            return False
        self.total = total
        if done > 0 or not math.isnan(self.step):
            self.step = done
        return True

    def see_heading(self, body: str, row: Row) -> bool:
        """Note a line that only says which epoch begins; whether it does."""
        if row.epoch != row.epoch or len(body) >= MAX_HEADING:
            return False
        self.epoch = row.epoch
        self._note_first(row.epoch)
        return True

    def claim(self) -> float:
        """The step for a training row; NaN when the bar has not moved since the last one."""
        if self.step == self._used:
            return NAN
        self._used = self.step
        return self.step

    def settle(self, row: Row) -> None:
        """Fill the epoch of a row from the context, and its step from a count within the epoch."""
        if math.isnan(row.epoch):
            row.epoch = self.epoch
        if row.within is not None:
            self._note_first(row.epoch)
            done, total = row.within
            epochs = 0.0 if math.isnan(row.epoch) else max(0.0, row.epoch - self._first_epoch)
            row.step = epochs * total + done

    def _note_first(self, epoch: float) -> None:
        if math.isnan(self._first_epoch):
            self._first_epoch = epoch

    @property
    def now(self) -> int | None:
        """The current step, None when unknown."""
        return int(self.step) if math.isfinite(self.step) else None
