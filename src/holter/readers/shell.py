"""Shell scripts and job files: launch commands, options, environment variables."""

from __future__ import annotations

import re

from holter.patterns import regex
from holter.readers.base import CERTAIN, LIKELY, Match, Sample
from holter.run import Run

NAME = "shell script"

_SUFFIXES = (".sh", ".bash", ".zsh", ".slurm", ".sbatch", ".job", ".pbs", ".ps1", ".bat", ".cmd")
_DOCKER = regex(r"^\s*(?:RUN|ENV|CMD|ENTRYPOINT)\s+", re.M)


def sniff(sample: Sample) -> Match | None:
    """A shell script by its suffix or its first line, or a Dockerfile."""
    if sample.encoding is None:
        return None
    if sample.suffix in _SUFFIXES:
        return Match(score=CERTAIN, why="a shell script")
    first = sample.text.split("\n", 1)[0]
    if first.startswith("#!") and re.search(r"\b(ba|z|da|k)?sh\b", first):
        return Match(score=CERTAIN, why="starts with a shell's shebang")
    if sample.name == "dockerfile":
        return Match(score=LIKELY, why="is a Dockerfile")
    return None


def read(sample: Sample) -> Run:
    """The settings that the commands give."""
    from holter.readers.commands import Commands

    run, text = Run(), sample.read_text()
    if sample.name == "dockerfile":
        text = _DOCKER.sub("", text)
    Commands(run=run, source=sample.source()).read(text)
    return run
