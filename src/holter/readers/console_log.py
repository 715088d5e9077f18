"""Console output of a training run, whatever tool printed it. One grammar a file in `holter.readers.console`."""

from __future__ import annotations

from collections.abc import Iterable

from holter.patterns import regex
from holter.readers.base import LIKELY, UNSURE, Match, Sample
from holter.run import Run

NAME = "console log"
_SUFFIXES = {".log", ".out", ".err", ".txt", ".stdout", ".stderr"}
_NAMES = regex(r"(?:^|[\W_])(?:log|logs|nohup|stdout|stderr|slurm|console|output)(?:[\W_]|$)")
_CODE_AND_DATA = (
    ".py .pyi .js .ts .css .html .htm .xml .svg .c .h .cc .cpp .cu .java .go .rs .rb .lua .tex .bib .csv .tsv .json "
    ".jsonl .yaml .yml .toml .ini .cfg .md .rst .ipynb .sh .bat .ps1 .sql .lock .vocab .merges"
)
_NO_LOGS = frozenset(_CODE_AND_DATA.split())
"""Suffixes of text that is code, data or settings, where a pair such as ``loss = 0`` is no measurement."""
LOOKED_AT = 200  # lines looked at in a text of unknown suffix
_SIGNS = ("{'loss':", "{'eval_loss':", "Traceback (most recent call last)", "OVERFLOW! Rank")


def sniff(sample: Sample) -> Match | None:
    """Text that no other reader knows; surer when it is called a log or holds lines a training prints."""
    if sample.encoding is None or not sample.size:
        return None
    if sample.suffix in _SUFFIXES or _NAMES.search(sample.name):
        return Match(score=LIKELY, why="text named like a log")
    if any(sign in sample.text for sign in _SIGNS):
        return Match(score=UNSURE + 10, why="holds lines that a training loop prints")
    if not sample.suffix:
        return Match(score=UNSURE, why="text of no known format, read as a log")
    if sample.suffix not in _NO_LOGS and read_lines(enumerate(sample.text.split("\n")[:LOOKED_AT]), "").series:
        return Match(score=UNSURE, why="holds lines with metrics")
    return None


def read(sample: Sample) -> Run:
    """Metrics, settings and events of a log; a line that is too long or not text gives a `Gap`."""
    from holter.readers.console.lines import Chunks
    from holter.readers.console.log import Log
    from holter.readers.source.shown import add_shown

    log, chunks = Log(sample.shown), Chunks(sample)
    for number, block in chunks:
        log.take_block(number, block)
    run = log.finish()
    run.gaps.extend(chunks.gaps)
    add_shown(run, sample.text, sample.source(), log=True)
    return run


def read_lines(lines: Iterable[tuple[int, str]], shown: str, *, cell: int | None = None) -> Run:
    """The same for text that stands inside another file, such as the output of a notebook cell.

    Args:
        lines: pairs of 1-based line number and text.
        shown: the file as told to the user.
        cell: 1-based notebook cell.
    """
    from holter.readers.console.lines import segments
    from holter.readers.console.log import Log

    log = Log(shown, cell=cell)
    for number, text in lines:
        for at, part in segments(number, text):
            log.take(at, part)
    return log.finish()
