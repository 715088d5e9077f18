"""Runs that a report lists line by line: what was set, a colon or an arrow, and what came of it; or pairs throughout.

- lr 1e-5: val acc 0.89          seed 42 -> mcc 0.61          - lr: 1e-5, val acc: 0.89
- lr 1e-4: val acc 0.33          seed 43 -> mcc 0.0           - lr: 1e-4, val acc: 0.33
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from holter.patterns import regex
from holter.readers.markdown_blocks import Block, plain_text
from holter.run import Authority, Run, Source, Value

_LINE = regex(r"^\s*(?:[-*+\u2022]|\d+[.)])?\s*(?P<set>[^:]{2,60}?)\s*(?:->|=>|\u2192|:)\s+(?P<came>.{2,100})$")
_SET = regex(
    r"\b(?:lr|learning[ _]rate|seed|batch|bs|warm-?up|fp16|bf16|fp32|tf32|gpus?|clip\w*|accum\w*|eager|sdpa|flash\w*|"
    r"padding|lora|4-?bit|8-?bit|precision|transformers|torch|v100|a100|h100|t4)\b",
    re.I,
)
_CAME = regex(
    r"\b(?:nan|inf|diverg\w+|converg\w+|works?|fine|trains?|stuck|collaps\w+|fails?)\b|\b(?:loss|acc\w*|f1|bleu|wer|mcc|"
    r"rouge\w*|perplexity|ppl|score)\b[^\d]{0,12}\d",
    re.I,
)
FEWEST = 2
"""Lines of one form that compare; a single one is a sentence."""


def add_listed(run: Run, lines: Sequence[Block], place: Source) -> None:
    """Add a row a line to ``run.variants`` where at least `FEWEST` lines say what was set and what came of it.

    Args:
        run: where to.
        lines: the single lines of a document that tell what ran.
        place: the document.
    """
    found = []
    for block in lines:
        match = _LINE.match(plain_text(block.lines[0]))
        if match is not None and _SET.search(match["set"]) and _CAME.search(match["came"]):
            source = Source(file=place.file, line=block.first, cell=place.cell)
            cells = (("run", match["set"].strip()), ("result", match["came"].strip()))
            row = {name: Value(value=text, source=source, raw=text, authority=Authority.PROSE) for name, text in cells}
            found.append(row)
    if len(found) >= FEWEST:
        run.variants.extend(found)


_ITEM = regex(r"^\s*(?:[-*+\u2022]|\(?\d{1,2}[.)])\s+(?P<text>\S.*)$")
_BETWEEN = regex(r"\s*[,;|]\s+")
_ARROW = regex(r"\s*(?:->|=>|\u2192)\s*")
_PAIR = regex(r"(?P<key>[A-Za-z_][\w./@ \-]{0,40}?)\s*(?:[:=]\s*)(?P<value>\S.*)")
RESULT = "result"


def listed_table(lines: Sequence[str], first: int, *, called: bool) -> tuple[list[list[str]], int]:
    """A list of runs, a line each, as the rows of a table, the header first, and where it ends; no rows for others.

    Args:
        lines: of the document.
        first: index of the first line of the list.
        called: the lead-in or the heading says that these are runs.
    """
    from holter.readers.side_by_side import MOST_RUNS, compares, texts

    found: list[dict[str, str]] = []
    end = first
    for end in range(first, len(lines) + 1):
        row = _pairs(lines[end]) if end < len(lines) else {}
        if not row:
            break
        found.append(row)
    if not FEWEST <= len(found) <= MOST_RUNS:
        return [], max(end, first + 1)
    header = list(dict.fromkeys(key for row in found for key in row))
    rows = [[row.get(key, "") for key in header] for row in found]
    table = texts(header, list(enumerate(rows, start=first)))
    alike = any(all(key in row for row in found) for key in header)
    return ([header, *rows] if compares(table, called=called and alike) else []), end


def _pairs(line: str) -> dict[str, str]:
    """The pairs of an item, what comes behind an arrow as its result; empty for any other line."""
    match = _ITEM.match(line)
    if match is None or not any(sign in line for sign in ",;|>\u2192"):
        return {}
    text, *came = _ARROW.split(plain_text(match["text"]))
    row: dict[str, str] = {}
    key = ""
    for piece in _BETWEEN.split(text):
        pair = _PAIR.fullmatch(piece)
        if pair is not None and (inner := _PAIR.fullmatch(pair["value"])) is not None and not row:
            row["run"], pair = pair["key"], inner
        if pair is not None:
            key = pair["key"].strip()
            row.setdefault(key, pair["value"].strip())
        elif key:
            row[key] += f", {piece}"
        else:
            return {}
    if came and row:
        row[RESULT] = " -> ".join(came)
    return row if len(row) > 1 else {}
