"""Lines of ``key=value`` and ``key: value`` metrics with a step or an epoch, in the many ways tools print them.

Covers hand-written loops (``Step 1: loss=69.5, lr=1e-8``), nanoGPT, MLX, torchtune, fairseq, Megatron and GPT-NeoX,
mmengine, OpenNMT, torchtitan, verl, Coqui, Lightning and Keras: they differ in separators, not in kind.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from holter.patterns import regex
from holter.quantity import TRAIN
from holter.readers.console.phases import Named, base_on, between, head, heading, named
from holter.readers.console.row import Row
from holter.readers.numbers import NUMBER, number

_WORD = r"(?!(?:[Nn]a[Nn]|NAN|[Ii]nf(?:inity)?|INF)\b)[A-Za-z_][\w/@.+\-]*(?:'s)?(?:\([A-Za-z%/ ]{1,32}\))?"
_START = r"(?:^|(?<=[|,;\[(>:\]])|(?<=\s-)|(?<=\s\s)|(?<=\t)|(?<=\d))\s*"
_COUNT = r"\s*(?:\((?:train|training)\))?\s*(?:[:=#]|\bno\.?)?\s*[\[(]?\s*"
_STEP = regex(
    _START
    + r"(?:(?P<sure>global[_ ]?step|num_updates|train(?:ing)?[_ ]step|optim(?:izer)?[_ ]step|acc_iter|step|iteration)s?"
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
    rf"(?:tensor\()?(?P<bound>[<>~≈]?)(?P<number>{NUMBER})(?!\d|\.\d|:\d){_COUNTED}"
    rf"(?:/(?P<of>\d+)(?![\d./]))?(?:\s?(?P<unit>%))?(?:\s*\(\s*(?P<mean>{NUMBER})\s?%?\s*\))?"
)
_ROWS = r"(?:train(?:ing)?)\s*/\s*(?:val\w*|test\w*|dev|eval\w*)"
_TWINS = regex(
    rf"(?P<before>[A-Za-z]\w*(?: \w+)?)?\s*\(?\b(?P<rows>{_ROWS})\b\)?(?P<after>(?: [A-Za-z]\w*){{0,2}})\s*[:=]?\s*"
    rf"(?P<first>{NUMBER}%?)\s*/\s*(?P<second>{NUMBER}%?)",
    re.IGNORECASE,
)
"""``loss (train/val): 0.31 / 0.45``."""

_SAID_LATE = regex(
    r"\s+(?:at|after|for|in|on)\s+(?:the\s+)?(?P<what>step|iteration|iter|epoch|batch)\s*#?(?P<number>\d+)"
    r"\s*(?::|=|,?\s*(?:is|was)\b)\s*(?=[-+\d.ni])",
    re.IGNORECASE,
)
"""``Minibatch loss at step 100: 3.2``: the step stands between the name and the number."""

_GLUED = regex(rf"(?P<digit>\d)(?P<key>[A-Za-z_][A-Za-z_]*(?: [A-Za-z]+)?)(?=\s*[:=]\s*{NUMBER})")
"""``accuracy: 0.4854val_acc: 0.92563``: two prints without a blank between them."""

_OF_THE_RUN = regex(r"global|updates|optim|train", re.IGNORECASE)
_ADJECTIVES = regex(
    r"^(?:the|average|avg\.?|mean|current|cur|batch|step|epoch|running|xe|ce|bce|nll|xent|cross[- ]entropy)\s+",
    re.IGNORECASE,
)
_LETTERS = regex(r"[^\W\d_]")
MAX_DIGITS = 10  # of a number of epochs; longer numbers are something else
MAX_OTHER_LETTERS = 60  # letters of a metric line that belong to no metric; prose that mentions a loss has more
SUMMARY = regex(r"loss|grad_norm|perplexity|^(?:eval|train)_|^test/")
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


def parse(body: str, *, anchored: bool = False, near: bool = False, rows: str = "") -> Row | None:
    """The metrics of a line, None when it holds none or is prose.

    Args:
        body: the line.
        anchored: the surroundings say that this is a metric line, so one pair of any name is enough.
        near: the line before held metrics, so one of a known name is enough.
        rows: of which rows the surroundings say that it is, where the line does not say.
    """
    if " avg" in body and (match := _DARKNET.match(body)) is not None:
        found = match.groupdict()
        return Row(step=float(found.pop("step")), fields=dict(found))
    row, rest = position(_plainly(body))
    left, told = _found(rest, rows)
    row.fields = _fields(told)
    names = {name for key in row.fields if (name := known(key) or _component(key))}
    placed = row.step == row.step or row.epoch == row.epoch or row.within is not None
    wanted = placed or len(names) > 1 or anchored or near or any(SUMMARY.search(known(n) or "") for n in names)
    if not (names or (anchored and row.fields)) or not wanted:
        return None
    letters = len(_LETTERS.findall(left))
    if letters > MAX_OTHER_LETTERS:
        return None
    for key, text in row.fields.items():
        if isinstance(text, str) and text[:1] in "<>~≈" and (value := number(text[1:])) is not None:
            row.fields[key] = value
    return row


@dataclass(slots=True)
class _Pair:
    """A pair: its key, what that stands for, of which rows the line says that it is, its number as a text or scaled."""

    key: str
    what: Named | None
    rows: str
    value: str | float


def _plainly(body: str) -> str:
    """The line with one pair for each number, a blank before it, and the step first."""
    if "/" in body and (match := _TWINS.search(body)) is not None:
        name = f"{match['before'] or ''} {match['after']}".strip()
        first, second = re.split(r"\s*/\s*", match["rows"])
        pairs = f" {first} {name}: {match['first']}, {second} {name}: {match['second']}"
        return body[: match.start()] + pairs + _plainly(body[match.end() :])
    if (match := _SAID_LATE.search(body)) is not None:
        body = f"{match['what']} {match['number']}, {body[: match.start()].strip()}: {body[match.end() :]}"
    return _GLUED.sub(lambda glued: f"{glued['digit']} {glued['key']}" if known(glued["key"]) else glued[0], body)


def _found(rest: str, rows: str) -> tuple[str, list[_Pair]]:
    """The pairs of a line from which its step was taken, and what is left of the line without them."""
    left, found, at, base = rest, list[_Pair](), 0, ""
    contrast = False
    for match in _PAIR.finditer(rest):
        key = _key(match["key"])
        what = named(key)
        only_rows = what is not None and not what.name
        if (match["sep"].isspace() and what is None and not key.lower().endswith("seed")) or (
            only_rows and match["of"]
        ):
            continue
        gap, at = rest[at : match.start()], match.end()
        rows = (between(gap) if found else head(rest[: match.end("key")])) or rows
        if what is not None and only_rows:
            rows, what = what.rows if base else rows, base_on(base, what.rows)
        left = left.replace(match[0], " ", 1)
        found.append(_Pair(key, what, rows, _value(match, what, rows)))
        if what is not None and what.base:
            base, contrast = what.base if what.rows else "", contrast or what.rows == TRAIN
            if what.rows and (" " in key or contrast):
                rows = what.rows
    return left, found


def _fields(found: list[_Pair]) -> dict[str, Any]:
    """Series name -> number; the key as printed where the name is taken or there is none."""
    said = {pair.what.name for pair in found if pair.what is not None and pair.what.rows}
    exact = {pair.key.lower() for pair in found}
    fields: dict[str, Any] = {}
    for pair in found:
        name = pair.key
        if pair.what is not None and (pair.what.name not in exact or name.lower() == pair.what.name or pair.rows):
            name = pair.what.on(pair.rows)
            name = pair.what.name if name in said else name
        fields.setdefault(pair.key if name in fields else name, pair.value)
    return fields


def _value(match: re.Match[str], what: Named | None, rows: str) -> str | float:
    """The number of a pair: of held-out rows the mean beside it, a count of right answers as a share."""
    if what is None:
        return str(match["bound"] + match["number"])
    held_out = (what.rows or rows) not in ("", TRAIN)
    text = match["mean"] if match["mean"] and held_out else match["number"]
    if match["of"] and what.base == "accuracy" and float(match["of"]):
        return (number(match["number"]) or 0.0) / float(match["of"])
    if match["unit"]:
        return _percent(text)
    return text if text is match["mean"] else str(match["bound"] + text)


def _component(key: str) -> str | None:
    """A loss of its own beside others, such as ``box_loss``."""
    return key if key.lower().endswith(("_loss", "-loss", "_loss_total")) else None


@lru_cache(maxsize=4096)
def known(key: str) -> str | None:
    """Our name of a metric, None when the key is not one."""
    what = named(key)
    return what.name or None if what is not None else None


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


@dataclass(slots=True)
class Announced:
    """The rows that a line without numbers announced, such as ``Validation:``, for the lines below it.

    Attributes:
        rows: ``train``, ``eval``, ``test``, or empty.
    """

    rows: str = ""
    _seen: set[str] = field(default_factory=set)
    _at: float = math.nan

    def see(self, line: str) -> None:
        """Note a line that announces rows."""
        if rows := heading(line):
            self.rows, self._seen, self._at = rows, set(), math.nan

    def parse(self, body: str, *, anchored: bool, near: bool) -> Row | None:
        """`parse` with these rows; they end with an epoch, or when a quantity comes again and no count went on."""
        row = parse(body, anchored=anchored, near=near or bool(self.rows), rows=self.rows)
        if row is None or not self.rows:
            return row
        if row.epoch == row.epoch or (not self._seen.isdisjoint(row.fields) and not row.step > self._at):
            self.rows = ""
            return parse(body, anchored=anchored, near=near)
        self._seen.update(row.fields)
        self._at = row.step
        return row
