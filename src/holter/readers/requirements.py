"""Versions of packages: ``requirements.txt``, ``pip freeze`` output, conda's ``environment.yml``.

Only an exact pin says which version ran; a range is kept as the fact ``requires.<package>``.
"""

from __future__ import annotations

import re

from holter.patterns import regex
from holter.readers.base import CERTAIN, LIKELY, Match, Sample
from holter.run import Run

NAME = "package versions"

_PIN = regex(r"^[ \t]*[A-Za-z][\w.\-]*(?:\[[^\]]*\])?[ \t]*==[ \t]*\d")
_FROZEN_LINES = 3  # fewer lines of the form name==version may stand in any text


def sniff(sample: Sample) -> Match | None:
    """A requirements file by its name, or text that is mostly ``name==version``."""
    if sample.encoding is None:
        return None
    name = sample.name
    if name in ("environment.yml", "environment.yaml", "conda.yaml", "conda.yml"):
        return Match(score=CERTAIN, why="a conda environment")
    if sample.suffix in (".txt", ".in", ".lock") and re.match(r"(requirements|constraints|freeze|pip|packages)", name):
        return Match(score=CERTAIN, why=f"is named {sample.path.name}")
    if sample.suffix in (".txt", ".log", ""):
        lines = [line for line in sample.text.split("\n")[:200] if line.strip() and not line.startswith("#")]
        pins = sum(1 for line in lines if _PIN.match(line))
        if pins >= _FROZEN_LINES and pins * 2 > len(lines):
            return Match(score=LIKELY, why="lines of the form name==version")
    return None


def read(sample: Sample) -> Run:
    """Exact pins as ``versions.<package>``, ranges as facts."""
    from holter.readers.versions import add_conda, add_requirement

    run, text = Run(), sample.read_text()
    if sample.suffix in (".yml", ".yaml"):
        add_conda(run, text, sample)
        return run
    for number, line in enumerate(text.split("\n"), start=1):
        add_requirement(run, line, sample, number)
    return run
