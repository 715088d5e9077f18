"""If the guard itself raises, the training goes on, and is told once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from holter.errors import TrainingStopped
from holter.guard.record import Record

T = TypeVar("T")

logger = logging.getLogger("holter")


class Safety:
    """Runs the guard's own code; after the first exception it runs none of it any more."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.broken: Exception | None = None

    def run(self, what: Callable[..., T], *args: object) -> T | None:
        """The result of ``what``, or None when it raised or an earlier call did."""
        if self.broken is not None:
            return None
        try:
            return what(*args)
        except TrainingStopped:
            raise
        except Exception as error:
            self.broken = error
            logger.warning("the guard failed and looks no further; training goes on", exc_info=error)
            with suppress(OSError):
                self.record.event("warning", f"the guard failed: {type(error).__name__}: {error}", step=0)
            return None
