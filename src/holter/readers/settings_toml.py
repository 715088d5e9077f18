"""TOML settings, such as torchtitan's; ``pyproject.toml`` is read for its pinned packages."""

from __future__ import annotations

from holter.readers.base import CERTAIN, Match, Sample
from holter.run import Run

NAME = "TOML settings"


def sniff(sample: Sample) -> Match | None:
    """A file with a TOML suffix; lock files are read by nobody."""
    if sample.encoding is None or sample.suffix != ".toml":
        return None
    return Match(score=CERTAIN - 10, why="a TOML file")


def read(sample: Sample) -> Run:
    """All values by full key; of a ``pyproject.toml`` only exact versions."""
    from holter.readers.documents import add_documents
    from holter.readers.toml_tree import read_toml
    from holter.readers.versions import add_pyproject

    run, tree = Run(), read_toml(sample.read_text())
    if sample.name == "pyproject.toml":
        add_pyproject(run, tree, sample)
    else:
        add_documents(run, tree, sample.source())
    return run
