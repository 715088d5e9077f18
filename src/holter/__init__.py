"""Holter: the Holter monitor of fine-tuning.

Importing it loads neither torch nor transformers; the names below load what they need when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "Run": "holter.run",
    "Diagnosis": "holter.diagnosis.result",
    "check": "holter.preflight",
    "diagnose": "holter.diagnosis",
    "read": "holter.readers",
    "HolterError": "holter.errors",
}

__all__ = ["Diagnosis", "HolterError", "Run", "__version__", "check", "diagnose", "read"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'holter' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
