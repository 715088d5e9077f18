"""Python scripts (``.py``): parsed, never run."""

from __future__ import annotations

import re

from holter.patterns import regex
from holter.readers.base import CERTAIN, LIKELY, Match, Sample
from holter.run import Authority, Run

NAME = "Python source"

_PYTHON = regex(r"^\s*(import \w|from [\w.]+ import |def \w+\(|class \w+[(:]|@\w)", re.M)


def sniff(sample: Sample) -> Match | None:
    """Python by its name, or by a shebang."""
    if sample.encoding is None:
        return None
    if sample.suffix in (".py", ".pyw", ".pyi"):
        return Match(score=CERTAIN, why="a Python file")
    if sample.text.startswith("#!") and "python" in sample.text.split("\n", 1)[0]:
        return Match(score=CERTAIN, why="starts with a Python shebang")
    if not sample.suffix and len(_PYTHON.findall(sample.text)) > 2:
        return Match(score=LIKELY, why="has Python imports and definitions")
    return None


def read(sample: Sample) -> Run:
    """Calls, assignments, settings and facts about the training step."""
    from holter.readers.source.scan import Part, scan

    run, _ = scan([Part(text=sample.read_text(), source=sample.source())], Authority.SCRIPT)
    return run
