"""Of which rows a number in a log line is: of those trained on, or of those held out.

Loops say so in the name (``val_loss``, ``Test accuracy``), by a word before several pairs
(``[valid] loss=2.1, acc=0.6``, ``val Loss: 0.4 Acc: 0.8``), or by a word alone whose quantity was named just before
(``loss train: 0.3, val: 0.5``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from holter.names import meaning_of, series_name
from holter.patterns import regex
from holter.quantity import EVAL, GRADIENT, RATE, TRAIN, is_split, quantity

TEST = "test"
TEST_PREFIX = "test/"
"""Of a series on test rows, until the log is over: where nothing else was held out, it is the evaluation."""

_WORD = r"(?:train(?:ing)?|trn|valid(?:ation|ating)?|val|eval(?:uation|uating)?|test(?:ing)?|dev)"
_BETWEEN = regex(rf"(?<![\w./@]){_WORD}(?![\w/]|[.\-]\w)", re.IGNORECASE)
_HEAD = regex(
    r"(?:^|[\s\[(|>*=-])(?P<word>valid(?:ation|ating)?|val|vali|eval(?:uation|uating)?|test(?:ing)?|dev)\s*"
    r"(?:[:\])|](?!\s*[\d.])|, |: \[|\son '|\s(?:epoch|set|results?|step|loss at|net output|error|begin\w*)\b|\s-\s)"
    r"|^\s*\*\s+(?:acc|prec)@1\b|\bsaving dict for global step\b",
    re.IGNORECASE,
)
"""Before the first metric: the line is of held-out rows, as ``| valid | epoch 001 | loss 4.1`` of fairseq. The line
``* Acc@1 76.1`` ends a validation in PyTorch's ImageNet example, ``Saving dict`` one of TensorFlow's Estimators."""

_HEADING = regex(
    rf"^[\W\d]*(?:(?:start|begin|run|running)\w*\s+)?(?P<word>{_WORD})(?:\s+(?:set|error|results?|metrics|phase|begin\w*))?"
    r"\s*(?:[:.…=\-*#\]]+\s*)?$",
    re.IGNORECASE,
)
_SPELT = (
    (regex(r"cross[-_ ]?entropy"), "crossentropy"),
    (regex(r"\b(?:m|multi[-_]?|binary[-_]?)?log[-_]?loss\b"), "loss"),
    (regex(r"\b(?:acc|prec(?:ision)?|accuracy)[@/_-]*(?:top[-_]?)?1\b"), "top1"),
    (regex(r"\bl\.r\b|\blr(?:\([a-z]+\)|[-/]\w+/(?:group|pg)_?0)$"), "lr"),
    (regex(r"(?<![a-z])(?:roc(?:[_ -]?auc)?|auc[_ -]?roc)(?:[_ ]score)?(?![a-z])"), "auc"),
    (regex(r"(?<=\w)'s\b"), ""),
    (regex(r"\bvalid_\d+\b"), "valid"),
)
_NOTHING_MORE = frozenset(
    ["minibatch", "batch", "main", "total", "net", "output", "running", "cur", "multi", "and", "top1", "gpt", "sft"]
)
"""Words beside a quantity that leave it what it is; any other, as in ``box_loss``, makes it one of its own."""

_WHEN = regex(r"\s(?:at|after|for|in|on) (?:step|iteration|iter|epoch|batch)$", re.IGNORECASE)
"""``loss at iteration 100``: the number is the step."""

_BASES = {
    **dict.fromkeys(("acc", "top1"), "accuracy"),
    **dict.fromkeys(("xent", "crossentropy"), "loss"),
    "ppl": "perplexity",
    "gradient norm": "grad_norm",
    "gnorm": "grad_norm",
    "learning rate": "learning_rate",
    "lr": "learning_rate",
}


@dataclass(frozen=True, slots=True)
class Named:
    """A quantity by its name.

    Attributes:
        name: of the series; empty where the key only says which rows.
        base: the quantity alone, ``loss`` of ``eval_loss``; empty where the rows make no difference, as for a rate.
        rows: ``train``, ``eval``, ``test``, or empty where the key does not say.
    """

    name: str
    base: str = ""
    rows: str = ""

    def on(self, rows: str) -> str:
        """The name of the same quantity on ``rows``, where the key itself does not say."""
        return _name(self.base, rows) if self.base and rows and not self.rows else self.name


@lru_cache(maxsize=4096)
def named(key: str) -> Named | None:
    """What a key of a log line stands for, None where it is no quantity that we know."""
    if _WHEN.search(key) is not None:
        return None
    words = [word for word in re.split(r"[\W_\d]+", key.lower()) if word]
    rows = next((_rows(word) for word in words if is_split(word)), "")
    found = series_name(key)
    if found is not None and meaning_of(found) is not None:
        return _listed(found, rows)
    spelt = key.lower()
    for pattern, word in _SPELT:
        spelt = pattern.sub(word, spelt)
    about = quantity(spelt)
    if about is not None and not about.moment and about.place is None and _NOTHING_MORE.issuperset(about.rest):
        base = _BASES.get(about.base, about.base)
        if about.kind in (RATE, GRADIENT):
            return Named(base)
        return Named(_name(base, rows), base, rows)
    if found is not None:
        return Named(found, rows=EVAL)
    return Named("", rows=rows) if rows and len(words) == 1 else None


def named_all(fields: dict[str, Any]) -> dict[str, Any]:
    """The same numbers under our names, where a key has one that no other key of the row has."""
    found: dict[str, Any] = {}
    for key, value in fields.items():
        what = named(key)
        ours = what.name if what is not None and series_name(key) is None else ""
        found[ours if ours and ours not in fields and ours not in found else key] = value
    return found


def base_on(base: str, rows: str) -> Named | None:
    """A quantity on the rows that a key without one names; None where no quantity was named before."""
    return Named(_name(base, rows), base, rows) if base else None


def _listed(found: str, rows: str) -> Named:
    about = quantity(found)
    if about is None or about.kind in (RATE, GRADIENT):
        return Named(found)
    base = found.removeprefix("eval_").removeprefix("train_")
    if rows == TEST and found.startswith("eval_"):
        return Named(_name(base, TEST), base, TEST)
    return Named(found, base, EVAL if found.startswith("eval_") else rows)


def _name(base: str, rows: str) -> str:
    if rows == TEST:
        return f"{TEST_PREFIX}{base}"
    if rows == EVAL:
        return f"eval_{base}"
    plain = series_name(base) or base
    return f"train_{base}" if rows == TRAIN and plain.startswith("eval_") else plain


def _rows(word: str) -> str:
    low = word.lower()
    if low.startswith("test"):
        return TEST
    return TRAIN if low.startswith("tr") else EVAL


def head(text: str) -> str:
    """The rows that what stands before the first metric of a line names; empty for none."""
    match = _HEAD.search(text)
    if match is None or "train" in text.lower():
        return ""
    return _rows(match["word"] or EVAL)


def between(text: str) -> str:
    """The rows that a word between two pairs names; the last one counts."""
    found = _BETWEEN.findall(text)
    return _rows(found[-1]) if found else ""


def heading(line: str) -> str:
    """The rows that a line without numbers announces, such as ``Validation:``; empty for any other line."""
    match = _HEADING.match(line)
    return _rows(match["word"]) if match else ""
