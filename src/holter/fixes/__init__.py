"""Fixes patch the user's own files: one module a kind of file, each editing in place.

>>> from holter.fixes import plan
"""

from __future__ import annotations

from holter.fixes.patch import Edit, Patch
from holter.fixes.plan import ByHand, Plan, plan

__all__ = ["ByHand", "Edit", "Patch", "Plan", "plan"]
