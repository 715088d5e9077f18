"""The stages of one training step, in the order in which they act.

A symptom can only be caused at its own stage or before it, in that step or an earlier one.
"""

from __future__ import annotations

import enum


class Stage(enum.IntEnum):
    """Where a cause acts first, or where a symptom shows; the number is the order within one step."""

    DATA = 0
    TOKENIZE = 1
    COLLATE = 2
    FORWARD = 3
    LOSS = 4
    BACKWARD = 5
    UNSCALE = 6
    CLIP = 7
    UPDATE = 8
    SCHEDULE = 9
    LOG = 10
    EVAL = 11
    SAVE = 12
    RESUME = 13

    @property
    def word(self) -> str:
        """The stage as reports print it."""
        return self.name.lower()


FIRST_UPDATE = Stage.CLIP
"""Causes at this stage or later touch the forward pass only through the weights of a later step."""
