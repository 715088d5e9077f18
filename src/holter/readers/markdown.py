"""Markdown: reports and model cards. What ran is kept apart from what is proposed or expected.

Fenced blocks are read by their language; tables are metrics or settings. A value below a heading such as "Fix" or
"Expected" becomes a fact ``proposed.<name>``, one of a run it is compared with ``other.<name>``; neither is ever a
logged number, and a number that names neither step nor epoch is prose.
"""

from __future__ import annotations

from holter.readers.accounts import is_name_of_account, is_name_of_page, voice_of
from holter.readers.base import CERTAIN, LIKELY, Match, Sample
from holter.run import Run

NAME = "Markdown"


_SUFFIXES = (".md", ".markdown", ".mdx", ".rmd", ".qmd")
_OF_TEXT = (".txt", ".text", "")
"""Suffixes of plain text, which is read like Markdown where it is called a note or a page."""

MAX_NOTE_BYTES = 1 << 20
"""Nobody writes more into a note; a larger file is a log, whatever it is called."""


def sniff(sample: Sample) -> Match | None:
    """A file with a Markdown suffix, or plain text with a name of notes or pages."""
    if sample.encoding is None or not sample.size:
        return None
    if sample.suffix in _SUFFIXES:
        return Match(score=CERTAIN, why="a Markdown file")
    if (
        sample.suffix in _OF_TEXT
        and sample.size <= MAX_NOTE_BYTES
        and (is_name_of_account(sample.name) or is_name_of_page(sample.name))
    ):
        return Match(score=LIKELY, why="text named like a note")
    return None


def read(sample: Sample) -> Run:
    """Settings, logs and facts of the document."""
    from holter.readers.markdown_text import read_markdown

    text = sample.read_text()
    return read_markdown(text, sample.shown, voice=voice_of(sample.name, text))
