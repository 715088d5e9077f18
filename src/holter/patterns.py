"""Regular expressions that are compiled when they are first used: a diagnosis needs few of those that there are."""

from __future__ import annotations

import re
from typing import Any, cast


class _Uncompiled:
    """Stands for a pattern until somebody asks it for anything."""

    def __init__(self, text: str, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, value)  # a method is bound to the compiled pattern, so it is asked only once
        return value


def regex(text: str, flags: int = 0) -> re.Pattern[str]:
    """As `re.compile`, but a mistake in it shows at the first use; the tests use every pattern."""
    return cast("re.Pattern[str]", _Uncompiled(text, flags))
