"""Progress bars: tqdm, notebook bars of transformers, Keras. They say how far the run is, and often carry metrics."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from holter.patterns import regex

_TQDM = regex(
    r"(?P<title>[^|\r\n]{0,80}?):?\s*(?P<percent>\d{1,3})%\s?\|[^|\r\n]{0,400}\|\s*(?P<done>[\d,.]+[kMG]?)\s*/\s*(?P<total>[\d,.]+[kMG]?)"
    r"(?:\s*\[(?P<inside>[^\]\r\n]*)\]?)?"
)
PLAIN = r"[ \t]*\d{1,3}%\|[^|\x1b\r\n]*\| (\d+)/(\d+) \[[\d:]+<[\d:?]+(?:, +[\d.?]+ ?[A-Za-z]+/[A-Za-z]+)?\][ \t]*"
"""The Trainer's bar and nothing else: how far, of how many."""

_PLAIN = regex(PLAIN)
_TQDM_PLAIN = regex(r"(?P<percent>\d{1,3})%\s+(?P<done>\d+)/(?P<total>\d+)\s+\[(?P<inside>[^\]\r\n]*)\]?")
_NOTEBOOK = regex(
    r"^\s*\[\s*(?P<done>\d+)/(?P<total>\d+)\s+[\d:]+\s*<\s*[\d:?]+(?:,\s*[^\],]*)?(?:,\s*Epoch\s+(?P<epoch>[\d.]+)/\d+)?\]"
)
_KERAS = regex(r"^\s*(?P<done>\d+)/(?P<total>\d+)\s+(?:\[[=>.]*\]|[━╸╺ ]+)\s*(?:-\s*)?")
_RATE = regex(r"^\s*[\d:?]+\s*<\s*[\d:?]+(?:,\s*(?:[\d.?]+\s*(?:[A-Za-z]+/s|s/[A-Za-z]+)|\?\S*))?")
_PAIR_IN_TITLE = regex(r"[A-Za-z]\s*[:=]\s*[-+]?[\d.n]")
_EPOCH = regex(r"\bepoch\b\D{0,6}(?P<epoch>\d+)", re.IGNORECASE)
_SIZES = {"k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(slots=True)
class Bar:
    """A progress bar.

    Attributes:
        title: what stands before it, empty for the bar of the transformers Trainer.
        done: how far.
        total: of how many.
        epoch: the epoch its title names, None without.
        postfix: metrics inside or after it.
        start: where the bar begins in the line.
        end: where it ends.
        text: the bar as printed.
    """

    title: str
    done: float
    total: float
    epoch: float | None
    postfix: str
    start: int
    end: int
    text: str = ""


def plain(text: str) -> Bar | None:
    """A line that is nothing but the Trainer's bar; None for anything else."""
    match = _PLAIN.fullmatch(text)
    if match is None:
        return None
    return Bar("", float(match[1]), float(match[2]), None, "", 0, len(text), text.strip())


def parse(body: str) -> Bar | None:
    """The bar in a line, None without one."""
    if "%" in body:
        match = _TQDM.search(body) or _TQDM_PLAIN.search(body)
        if match is not None:
            return _tqdm(match)
    if "/" in body and (match := _NOTEBOOK.match(body)) is not None:
        epoch = float(match["epoch"].rstrip(".")) if match["epoch"] else None
        return Bar("", float(match["done"]), float(match["total"]), epoch, "", 0, match.end(), match[0].strip())
    if "/" in body and (match := _KERAS.match(body)) is not None:
        return Bar(
            "batch",
            float(match["done"]),
            float(match["total"]),
            None,
            body[match.end() :],
            0,
            len(body),
            match[0].strip(),
        )
    return None


def _tqdm(match: re.Match[str]) -> Bar | None:
    done, total = _size(match["done"]), _size(match["total"])
    if done is None or total is None:
        return None
    inside = match["inside"] or ""
    title = (match.groupdict().get("title") or "").strip()
    named = _EPOCH.search(title)
    postfix = _RATE.sub("", inside).lstrip(", ")
    if _PAIR_IN_TITLE.search(title):
        postfix = f"{match.string[: match.start('percent')].rstrip(' :')}, {postfix}"
    return Bar(
        title,
        done,
        total,
        float(named["epoch"]) if named else None,
        postfix,
        match.start(),
        match.end(),
        match[0].strip(),
    )


def _size(text: str) -> float | None:
    factor = _SIZES.get(text[-1:], 1.0)
    try:
        size = float(text.rstrip("kMG").replace(",", "")) * factor
    except ValueError:
        return None
    return size if size < math.inf else None
