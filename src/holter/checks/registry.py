"""One table: code -> class. Searching for a code finds the file; listing codes imports no check."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holter.checks.base import Check

CHECKS: dict[str, str] = {
    # code: "<family>.<module>:<Class>", below holter.checks
}

WITHDRAWN: dict[str, str] = {}
"""Codes no longer in use -> their successor. Codes are never reused."""


def load(code: str) -> type[Check]:
    """The class of a code.

    Raises:
        KeyError: no such check.
    """
    module, name = CHECKS[code].split(":")
    found: type[Check] = getattr(import_module(f"holter.checks.{module}"), name)
    return found


def all_checks() -> Iterator[type[Check]]:
    """Every check, in order of code."""
    for code in sorted(CHECKS):
        yield load(code)
