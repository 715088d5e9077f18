"""Markdown: reports and model cards. What ran is kept apart from what is proposed or expected.

Fenced blocks are read by their language; tables are metrics or settings. A value below a heading such as "Fix" or
"Expected" becomes a fact ``proposed.<name>``, one of a run it is compared with ``other.<name>``; neither is ever a
logged number, and a number that names neither step nor epoch is prose.
"""

from __future__ import annotations

from holter.readers.base import CERTAIN, Match, Sample
from holter.run import Run

NAME = "Markdown"


def sniff(sample: Sample) -> Match | None:
    """A file with a Markdown suffix."""
    if sample.encoding is None or sample.suffix not in (".md", ".markdown", ".mdx", ".rmd", ".qmd"):
        return None
    return Match(score=CERTAIN, why="a Markdown file")


def read(sample: Sample) -> Run:
    """Settings, logs and facts of the document."""
    from holter.readers.markdown_text import read_markdown

    return read_markdown(sample.read_text(), sample.shown)
