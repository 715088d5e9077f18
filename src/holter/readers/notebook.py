"""Jupyter notebooks: code cells are parsed, command lines and outputs read like scripts and logs, nothing is run."""

from __future__ import annotations

from holter.readers.base import CERTAIN, Match, Sample
from holter.run import Run

NAME = "notebook"


def sniff(sample: Sample) -> Match | None:
    """A file with the suffix of notebooks, or a JSON object with cells."""
    if sample.encoding is None:
        return None
    if sample.suffix == ".ipynb":
        return Match(score=CERTAIN, why="a notebook")
    head = sample.text[:4000]
    if sample.suffix == ".json" and '"cell_type"' in head and '"cells"' in head:
        return Match(score=CERTAIN, why="a JSON object with notebook cells")
    return None


def read(sample: Sample) -> Run:
    """Code, command lines, outputs and text of all cells; sources carry the 1-based number of the cell."""
    from holter.readers.notebook_cells import read_cells

    return read_cells(sample)
