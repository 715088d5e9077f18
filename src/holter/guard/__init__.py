"""The guard: looks at a living run at almost no cost and stops it before a broken step touches the weights.

Calling the package is the plain loop's entry: ``with holter.guard(model, optimizer) as g:``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_LAZY = {
    "Guard": "holter.guard.callback",
    "LightningGuard": "holter.guard.lightning",
    "guarded": "holter.guard.loop",
    "Settings": "holter.guard.settings",
}

__all__ = ["Guard", "LightningGuard", "Settings", "guarded"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'holter.guard' has no attribute {name!r}")


class _Callable(ModuleType):
    """Lets ``holter.guard(...)`` work although ``holter.guard`` is this package."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from holter.guard.loop import guarded

        return guarded(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
