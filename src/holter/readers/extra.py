"""Optional libraries: imported only when a file needs them, and named with their extra when they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from holter.errors import MissingExtra


def optional(module: str, extra: str, shown: str, what: str) -> Any:
    """The module; raises `MissingExtra` with the command that installs it.

    Args:
        module: dotted name.
        extra: Holter's extra that brings it.
        shown: the file that needs it.
        what: the format in words.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"could not read {shown}: {what} needs a library that is not installed",
            where=shown,
            why=f"importing {module} failed: {error}",
            do=f'pip install "holter[{extra}]"',
        ) from error
