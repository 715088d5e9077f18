"""Loss and gradient accounting: what a Trainer reports and applies, against the same samples recomputed.

`account` measures a Trainer before it trains; the guard uses the same parts on a run that is under way.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LAZY = {
    "account": "holter.accounting.measure",
    "Accounting": "holter.accounting.records",
    "EvalAccount": "holter.accounting.records",
    "Factor": "holter.accounting.records",
    "StepAccount": "holter.accounting.records",
}

__all__ = ["Accounting", "EvalAccount", "Factor", "StepAccount", "account"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'holter.accounting' has no attribute {name!r}")
