"""Holter: the Holter monitor of fine-tuning.

Importing it loads neither torch nor transformers; the names below load what they need when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "Guard": "holter.guard",
    "account": "holter.accounting",
    "Run": "holter.run",
    "Diagnosis": "holter.diagnosis.result",
    "check": "holter.preflight",
    "diagnose": "holter.diagnosis",
    "read": "holter.readers",
    "HolterError": "holter.errors",
}

__all__ = ["Diagnosis", "Guard", "HolterError", "Run", "__version__", "account", "check", "diagnose", "guard", "read"]


def __getattr__(name: str) -> Any:
    if name == "guard":  # a package that can be called: `with holter.guard(model, optimizer)`
        return import_module("holter.guard")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'holter' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
