"""``holter demo``: the whole way from a run that went wrong to a verified fix, on a small model, on this machine."""

from __future__ import annotations

from holter.demo.story import Chapter, tell

__all__ = ["Chapter", "tell"]
