"""Lines of ``key=value`` and ``key: value`` metrics with a step or an epoch, in the many ways tools print them.

Covers hand-written loops (``Step 1: loss=69.5, lr=1e-8``), nanoGPT, MLX, torchtune, fairseq, Megatron and GPT-NeoX,
mmengine, OpenNMT, torchtitan, verl, Coqui, Lightning and Keras: they differ in separators, not in kind.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from holter.names import series_name
from holter.patterns import regex
from holter.readers.console.row import Row
from holter.readers.numbers import NUMBER, number

_WORD = r"(?!(?:[Nn]a[Nn]|NAN|[Ii]nf(?:inity)?|INF)\b)[A-Za-z_][\w/@.+\-]*(?:\([A-Za-z%/ ]{1,12}\))?"
_START = r"(?:^|(?<=[|,;\[(>:\]])|(?<=\s-)|(?<=\s\s)|(?<=\t)|(?<=\d))\s*"
_COUNT = r"\s*(?:\((?:train|training)\))?\s*(?:[:=#]|\bno\.?)?\s*[\[(]?\s*"
_STEP = regex(
    _START
    + r"(?:(?P<sure>global[_ ]?step|num_updates|train(?:ing)?[_ ]step|optim(?:izer)?[_ ]step|step|iteration)s?"
    + r"|(?P<maybe>iter|update|batch|it)s?)\b"
    + _COUNT
    + r"(?P<done>\d[\d,]*)(?![\d.]*[A-Za-z%])\s*(?:(?:/|of)\s*(?P<total>\d[\d,]*))?\s*[\])]?",
    re.IGNORECASE,
)
_EPOCH = regex(
    r"(?:^|(?<![\w/.]))epochs?"
    + _COUNT
    + r"(?P<epoch>\d+(?:\.\d+)?)(?![\d.]*[A-Za-z%])\s*(?:[\])]?\s*/\s*[\[(]?\s*(?P<total>\d+))?\s*[\])]?"
    + r"(?:\s*[:|,]?\s*[\[(]?\s*(?P<done>\d+)\s*/\s*(?P<batches>\d+)\s*(?:\(\s*\d+%\s*\))?\s*[\])]?)?",
    re.IGNORECASE,
)
_TORCHTUNE = regex(r"^\s*(?P<epoch>\d+)\|(?P<step>\d+)\|(?=[A-Za-z])")
_DARKNET = regex(
    rf"^\s*(?P<step>\d+): (?P<loss>-?{NUMBER}), -?{NUMBER} avg(?: loss)?, (?P<learning_rate>{NUMBER}) rate\b"
)
_BRACKETS = regex(r"^\s*(?:Iter|iter)\((?:train|val)\)\s*\[\s*(?P<step>\d+)/\s*(?P<total>\d+)\]")
_COUNTED = (
    r"(?!(?<=[a-zA-Z])\s*(?:(?:values?|counts?|checks?)(?:\s+\w+)?)?\s*[:=]\s*"
    r"(?:\d(?!\d*\s?%)|[Tt]rue\b|[Ff]alse\b|None\b))"
)
"""After a NaN: what says that a count or a question follows, as in ``loss nan: False``; a share is a progress bar's."""

_PAIR = regex(
    rf"(?<![\w.])(?P<key>{_WORD}(?: {_WORD}){{0,5}})(?P<sep>\s*\(?[:=]+\s*|\s+)[\[('\"]*"
    rf"(?:tensor\()?(?P<bound>[<>~≈]?)(?P<number>{NUMBER})(?!\d|\.\d|:\d)(?P<unit>%)?{_COUNTED}"
)
_OF_THE_RUN = regex(r"global|updates|optim|train", re.IGNORECASE)
_ADJECTIVES = regex(
    r"^(?:the|average|avg\.?|mean|current|cur|batch|step|epoch|running|xe|ce|bce|nll|xent|cross[- ]entropy)\s+",
    re.IGNORECASE,
)
_LETTERS = regex(r"[^\W\d_]")
MAX_DIGITS = 10  # of a number of epochs; longer numbers are something else
MAX_OTHER_LETTERS = 60  # letters of a metric line that belong to no metric; prose that mentions a loss has more
SUMMARY = regex(r"loss|grad_norm|perplexity|^eval_|^train_")
"""Names that are metrics even alone on a line; ``learning_rate: 1e-4`` alone is more often a setting."""


def position(body: str) -> tuple[Row, str]:
    """Step and epoch of a line, and the line with them blanked out."""
    row = Row()
    match = _TORCHTUNE.match(body) or _BRACKETS.match(body)
    if match is not None:
        found = match.groupdict()
        row.step = float(found["step"])
        row.epoch = float(found["epoch"]) if found.get("epoch") else math.nan
        return row, " " * match.end() + body[match.end() :]
    lowered = body.lower()
    if "epoch" in lowered and (match := _EPOCH.search(body)) is not None:
        row.epoch = float(match["epoch"])
        if match["total"] and len(match["total"]) < MAX_DIGITS:
            row.settings["num_train_epochs"] = int(match["total"])
        if match["batches"] and "%" not in match[0]:
            row.within = (float(match["done"]), float(match["batches"]))
        body = body[: match.start()] + " " * (match.end() - match.start()) + body[match.end() :]
    return row, _steps(row, body)


def _steps(row: Row, body: str) -> str:
    best: re.Match[str] | None = None
    for match in _STEP.finditer(body):
        if best is None or (best["sure"] is None and match["sure"] is not None):
            best = match
    if best is None:
        return body
    done = float(best["done"].replace(",", ""))
    total = float(best["total"].replace(",", "")) if best["total"] else None
    whole_epoch = row.epoch == row.epoch and row.epoch.is_integer()
    if whole_epoch and total is not None and not _OF_THE_RUN.search(best["sure"] or ""):
        row.within = (done, total)
    else:
        row.step, row.within = done, None
        if total is not None and math.isfinite(total):
            row.settings["max_steps"] = int(total)
    for match in _STEP.finditer(body):
        body = body[: match.start()] + " " * (match.end() - match.start()) + body[match.end() :]
    return body


def parse(body: str, *, anchored: bool = False) -> Row | None:
    """The metrics of a line, None when it holds none or is prose.

    Args:
        body: the line.
        anchored: the surroundings say that this is a metric line, so one pair of any name is enough.
    """
    if " avg" in body and (match := _DARKNET.match(body)) is not None:
        found = match.groupdict()
        return Row(step=float(found.pop("step")), fields=dict(found))
    row, rest = position(body)
    left = rest
    for match in _PAIR.finditer(rest):
        key = _key(match["key"])
        if match["sep"].isspace() and not known(key) and not key.lower().endswith("seed"):
            continue
        left = left.replace(match[0], " ", 1)
        text = match["bound"] + match["number"]
        row.fields.setdefault(key, _percent(match["number"]) if match["unit"] and known(key) else text)
    names = {name for key in row.fields if (name := known(key))}
    placed = row.step == row.step or row.epoch == row.epoch or row.within is not None
    wanted = placed or len(names) > 1 or anchored or any(SUMMARY.search(name) for name in names)
    if not (names or (anchored and row.fields)) or not wanted:
        return None
    letters = len(_LETTERS.findall(left))
    if letters > MAX_OTHER_LETTERS:
        return None
    for key, text in row.fields.items():
        if isinstance(text, str) and text[:1] in "<>~≈" and (value := number(text[1:])) is not None:
            row.fields[key] = value
    return row


@lru_cache(maxsize=4096)
def known(key: str) -> str | None:
    """Our name of a metric, None when the key is not one."""
    return series_name(key)


@lru_cache(maxsize=4096)
def _key(key: str) -> str:
    key = key.rstrip(".")
    if known(key):
        return key
    while (shorter := _ADJECTIVES.sub("", key)) != key:
        key = shorter
        if known(key):
            return key
    return key


def _percent(text: str) -> float:
    value = number(text)
    return math.nan if value is None else value / 100
