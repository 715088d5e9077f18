"""What a run said in words: exceptions, warnings, overflows, weight reports, and everything else by template."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

from holter.patterns import regex
from holter.readers.console.lines import Line
from holter.readers.numbers import number
from holter.run import (
    EVENT_ERROR,
    EVENT_LOAD,
    EVENT_MESSAGE,
    EVENT_OVERFLOW,
    EVENT_RESUME,
    EVENT_TRAINABLE,
    EVENT_WARNING,
    Event,
    Source,
)

_VALUE = r"(\d[\d.,]*(?:e[+-]?\d+)?)"
_SCALE = regex(rf"(?:attempted loss scale:?|from)\s*{_VALUE}", re.IGNORECASE)
_REDUCED = regex(
    rf"(?:reducing (?:loss scale )?to|setting loss scale to:?|loss scale to|new loss scale:?)\s*{_VALUE}",
    re.IGNORECASE,
)
_OVERFLOW_CONTEXT = regex(r"loss.?scale|skipp|gradient overflow|detected", re.IGNORECASE)
_MINIMUM = regex(r"loss scale (?:is )?(?:already )?(?:at|reached) (?:its )?minimum|minimum loss scale", re.IGNORECASE)
_RANK = regex(r"\brank[ :=]*(\d{1,6})\b", re.IGNORECASE)
_TRAINABLE = regex(
    r"(?<!non[- ])(?<!non)trainable param(?:eter)?s?(?: \([^)]*\))?\s*[=:]\s*"
    r"(?:\d[\d.]*\s*%\s*\(\s*)?(?P<trainable>\d[\d,._]*)\s?(?P<unit>[KMBkmb])?(?![\w%]|[.,]\d)"
    r"(?:[^\d]*(?:\|\||of|/|total|all param\w*)[^\d]*"
    r"(?P<total>\d[\d,._]*)\s?(?P<total_unit>[KMBkmb])?(?![\w%]|[.,]\d))?",
    re.IGNORECASE,
)
_LOAD = regex(
    r"newly initialized|were not used when initializing|not initialized from the model checkpoint|missing[_ ]keys|"
    r"unexpected[_ ]keys|size mismatch for|weights? (?:of|from) .{1,80} not (?:used|loaded|initialized)|"
    r"should probably TRAIN this model|\bUNEXPECTED\b|\bMISSING\b|\bMISMATCH\b",
)
_RESUME = regex(
    r"resum(?:e|ed|ing) (?:training |from|the run|at)|continuing training from|"
    r"loading (?:model|states?) from .*checkpoint-\d+|"
    r"successfully loaded checkpoint .{1,200} at iteration [1-9]|will skip the first \d+ (?:epochs|batches)",
    re.IGNORECASE,
)
_WARNING = regex(r"\b\w*Warning\b:?|^\s*\[?WARN(?:ING)?\b|\bWARNING\b|⚠")
_EXCEPTION = regex(
    r"^(?:[\w.]+\.)?(?P<name>[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure)|Exception|Killed|Aborted|OutOfResources)"
    r"(?: \(see above[^)]*\))?(?::\s|:$|$|\()"
)
_FATAL = regex(
    r"cuda (?:runtime )?error|device-side assert|out of memory|CUBLAS_STATUS_\w+|NCCL (?:error|timeout|WARN.*abort)|"
    r"watchdog caught collective operation timeout|segmentation fault|core dumped|"
    r"^\s*assert\w* .*failed|Assertion `.*` failed|ChildFailedError|Signal \d+ \(SIG",
    re.IGNORECASE,
)
_BANNER = regex(r"^\s*(?:Num|Number of|Total|Instantaneous|Gradient Accumulation)\b.* = ", re.IGNORECASE)
_HEAD = "Traceback (most recent call last)"
_FRAME = regex(r'^\s*File "[^"]+", line \d+')
_CHAINED = regex(r"^(?:During handling of the above|The above exception was)")
_DIGITS = regex(r"0x[0-9a-fA-F]+|\d+(?:[.,:]\d+)*")
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9}

MAX_TEMPLATES = 400  # kinds of lines kept; a log with more is data
KEPT_AT_ENDS = 20  # lines at the start and the end that are always kept
MAX_TRACE_LINES = 400  # lines of one traceback looked at
LAST_FRAMES = 12  # lines of frames quoted before an exception
MAX_AFTER = 30  # indented lines after an exception that belong to its message
MAX_TEXT = 2_000  # characters of an event's text
MAX_OVERFLOWS = 100_000  # overflow lines kept one by one
MAX_OTHERS = 7  # further lines of one template kept word for word: enough to compare the ranks of one machine


@dataclass
class _Trace:
    line: int
    step: int | None
    lines: list[str] = field(default_factory=list)
    ended: bool = False
    after: int = 0


@dataclass
class Events:
    """Collects the events of one log.

    Args:
        shown: the file as told to the user.
        cell: 1-based notebook cell.
    """

    shown: str
    cell: int | None = None
    _found: list[tuple[int, Event]] = field(default_factory=list)
    _templates: dict[tuple[str, str], int] = field(default_factory=dict)
    _traces: dict[int | None, _Trace] = field(default_factory=dict)
    _tail: list[Line] = field(default_factory=list)
    _seen: int = 0

    def feed(self, line: Line, step: int | None) -> None:
        """Take a line that holds no metrics."""
        self._seen += 1
        if self._trace(line, step):
            return
        kind, data = classify(line.body)
        if kind is EVENT_OVERFLOW:
            self._overflow(line, step, data)
        elif kind is not None:
            self._grouped(kind, line, step, data)
        else:
            self._message(line, step)

    def interrupt(self, rank: int | None) -> None:
        """A metric line came: what was being collected for the process that printed it is over."""
        if self._traces:
            self._close(rank)

    def _trace(self, line: Line, step: int | None) -> bool:
        body = line.body
        current = self._traces.get(line.rank)
        if _HEAD in body:
            if current is not None and not current.lines:
                return True
            if current is not None:
                self._close(line.rank)
            self._traces[line.rank] = _Trace(line.number, step)
            return True
        if current is None:
            if _FRAME.match(body) or _EXCEPTION.match(body):
                self._traces[line.rank] = _Trace(line.number, step, [body], ended=not _FRAME.match(body))
                return True
            return False
        return self._continue(current, line, step)

    def _continue(self, trace: _Trace, line: Line, step: int | None) -> bool:
        body = line.body
        indented = line.text[-len(body) - 1 : -len(body)].isspace() or body[:1].isspace() if body else True
        if trace.ended:
            trace.after += 1
            if _CHAINED.match(body):
                trace.ended = False
                return True
            if (indented or _FRAME.match(body)) and trace.after <= MAX_AFTER:
                trace.lines.append(body)
                if _LOAD.search(body):
                    self._grouped(EVENT_LOAD, line, step, {})
                return True
            self._close(line.rank)
            return self._trace(line, step)
        trace.lines.append(body)
        if (not body[:1].isspace() and _EXCEPTION.match(body)) or (not indented and not _FRAME.match(body)):
            trace.ended = True
        if len(trace.lines) > MAX_TRACE_LINES:
            self._close(line.rank)
        return True

    def _close(self, rank: int | None) -> None:
        trace = self._traces.pop(rank, None)
        if trace is None:
            return
        at = max((i for i, text in enumerate(trace.lines) if _EXCEPTION.match(text)), default=len(trace.lines) - 1)
        quoted = trace.lines[max(0, at - LAST_FRAMES) :] or [_HEAD]
        name = _EXCEPTION.match(trace.lines[at]) if trace.lines else None
        data: dict[str, Any] = {"exception": name["name"]} if name else {}
        if rank is not None:
            data["rank"] = rank
        self._add(trace.line, EVENT_ERROR, "\n".join(quoted), trace.step, data)

    def _overflow(self, line: Line, step: int | None, data: dict[str, Any]) -> None:
        if line.rank is not None:
            data.setdefault("rank", line.rank)
        if len(self._found) < MAX_OVERFLOWS:
            self._add(line.number, EVENT_OVERFLOW, line.text, step, data)

    def _grouped(self, kind: str, line: Line, step: int | None, data: dict[str, Any]) -> None:
        key = (kind, _DIGITS.sub("#", line.body)[:300])
        at = self._templates.get(key)
        if at is None:
            if len(self._templates) < 2 * MAX_TEMPLATES:
                self._templates[key] = len(self._found)
                self._add(line.number, kind, line.text, step, data)
            return
        number_, event = self._found[at]
        others = event.data.get("others", [])
        if len(others) < MAX_OTHERS:
            event = replace(event, data={**event.data, "others": [*others, line.text[:MAX_TEXT].strip()]})
        self._found[at] = (number_, replace(event, count=event.count + 1))

    def _message(self, line: Line, step: int | None) -> None:
        key = (EVENT_MESSAGE, _DIGITS.sub("#", line.body)[:300])
        if self._seen > KEPT_AT_ENDS:
            self._tail.append(line)
            if len(self._tail) > KEPT_AT_ENDS:
                self._tail.pop(0)
        if key in self._templates or len(self._templates) < MAX_TEMPLATES:
            self._grouped(EVENT_MESSAGE, line, step, {})

    def _add(self, line: int, kind: str, text: str, step: int | None, data: dict[str, Any]) -> None:
        source = Source(file=self.shown, line=line, cell=self.cell)
        self._found.append((line, Event(kind=kind, text=text[:MAX_TEXT].strip(), source=source, step=step, data=data)))

    def finish(self, step: int | None) -> list[Event]:
        """All events in file order."""
        for rank in list(self._traces):
            self._close(rank)
        kept = {line for line, event in self._found if event.kind == EVENT_MESSAGE}
        for line in self._tail:
            if line.number not in kept:
                self._add(line.number, EVENT_MESSAGE, line.text, step, {})
        return [event for _, event in sorted(self._found, key=lambda pair: pair[0])]


def says_something_else(body: str) -> bool:
    """Whether a line tells of an overflow, an error, a count or a setting, though its pairs look like metrics."""
    return _BANNER.match(body) is not None or classify(body)[0] in (EVENT_OVERFLOW, EVENT_ERROR, EVENT_TRAINABLE)


def classify(body: str) -> tuple[str | None, dict[str, Any]]:
    """The kind of a line that is not a metric, and the numbers in it; None for an ordinary message."""
    if ("verflow" in body or "VERFLOW" in body) and _OVERFLOW_CONTEXT.search(body):
        return EVENT_OVERFLOW, _overflow_data(body)
    if _MINIMUM.search(body):
        return EVENT_ERROR, {}
    match = _TRAINABLE.search(body) if "rainable" in body else None
    if match is not None:
        return EVENT_TRAINABLE, _trainable(match)
    if _LOAD.search(body):
        return EVENT_LOAD, {}
    if _RESUME.search(body):
        return EVENT_RESUME, {}
    if _EXCEPTION.match(body) or _FATAL.search(body):
        return EVENT_ERROR, {}
    return (EVENT_WARNING, {}) if _WARNING.search(body) else (None, {})


def _overflow_data(body: str) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, pattern in (("loss_scale", _SCALE), ("reducing_to", _REDUCED), ("rank", _RANK)):
        match = pattern.search(body)
        value = number(match[1].rstrip(".,")) if match else None
        if value is not None:
            data[name] = int(value) if name == "rank" else value
    return data


def _trainable(match: re.Match[str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, text, unit in (
        ("trainable", match["trainable"], match["unit"]),
        ("total", match["total"], match["total_unit"]),
    ):
        value = number(text.replace("_", "").rstrip(".,")) if text else None
        if value is not None and math.isfinite(value):
            data[name] = int(value * _UNITS.get((unit or "").lower(), 1))
    return data
