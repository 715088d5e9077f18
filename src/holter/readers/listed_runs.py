"""Runs that a report lists line by line: what was set, a colon or an arrow, and what came of it.

- lr 1e-5: val acc 0.89          seed 42 -> mcc 0.61
- lr 1e-4: val acc 0.33          seed 43 -> mcc 0.0
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
