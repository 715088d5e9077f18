"""Console output of a training run, whatever tool printed it. One grammar a file in `holter.readers.console`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import orjson

from holter.names import config_name, normal, series_name
from holter.readers.base import LIKELY, UNSURE, Match, Sample
from holter.readers.console import bars, dicts, pairs, settings, tables
from holter.readers.console.events import Events
from holter.readers.console.lines import Chunks, Line, clean, decode, segments
from holter.readers.console.row import Row
from holter.readers.rows import EPOCH_KEYS, Rows
from holter.run import NAN, Authority, Run, Source, Value

NAME = "console log"
_SUFFIXES = {".log", ".out", ".err", ".txt", ".stdout", ".stderr"}
_BLOCK = re.compile(r"^\*{3,}\s*(?P<what>\w+) metrics\s*\*{3,}$")
_BULLET = re.compile(r"^\s*(?:\|\s*>|-{1,2}>|\*|-)\s+")
_LINE_OF_DICT = b"\n{'"
AROUND_DICT = 30  # characters allowed around the dict of a wrapped line before it is given up
MAX_WRAPPED = 40  # lines a printed dict may be wrapped over


def sniff(sample: Sample) -> Match | None:
    """Text that no other reader knows; surer when it is called a log."""
    if sample.encoding is None or not sample.size:
        return None
    if sample.suffix in _SUFFIXES or re.search(r"\b(?:log|nohup|stdout|stderr|slurm)\b", sample.name):
        return Match(score=LIKELY, why="text named like a log")
    if "{'loss':" in sample.text or "Traceback (most recent call last)" in sample.text:
        return Match(score=LIKELY, why="holds lines that a training loop prints")
    return Match(score=UNSURE, why="text of no known format, read as a log") if not sample.suffix else None


def read(sample: Sample) -> Run:
    """Metrics, settings and events of a log; a line that is too long or not text gives a `Gap`."""
    log = Log(sample.shown)
    chunks = Chunks(sample)
    for number, block in chunks:
        if not log.take_dicts(number, block):
            for at, text in segments(number, decode(block)):
                log.take(at, text)
    run = log.finish()
    run.gaps.extend(chunks.gaps)
    return run


def read_lines(lines: Iterable[tuple[int, str]], shown: str, *, cell: int | None = None) -> Run:
    """The same for text that stands inside another file, such as the output of a notebook cell.

    Args:
        lines: pairs of 1-based line number and text.
        shown: the file as told to the user.
        cell: 1-based notebook cell.
    """
    log = Log(shown, cell=cell)
    for number, text in lines:
        for at, part in segments(number, text):
            log.take(at, part)
    return log.finish()


class Log:
    """Reads one log line by line. Lines are offered to the grammars in turn; what none takes becomes an event."""

    def __init__(self, shown: str, *, cell: int | None = None) -> None:
        self._shown, self._cell = shown, cell
        self._rows, self._events = Rows(shown, cell=cell), Events(shown, cell)
        self._run = Run()
        self._table = tables.Table()
        self._step, self._epoch, self._first_epoch = NAN, NAN, NAN
        self._total = NAN
        self._block = ""
        self._metric_before = False
        self._wrapped: list[Line] = []
        self._last_bar: tuple[Any, ...] = ()

    def take_dicts(self, number: int, block: bytes) -> bool:
        """Take a block in which every line is one printed dict, all at once; False when it is anything else."""
        lines = block.count(b"\n")
        if not block.startswith(b"{'") or b"\r" in block or b'"' in block or self._wrapped or self._step == self._step:
            return False
        if block.count(_LINE_OF_DICT) + 1 != lines or block.count(b"}\n") != lines:
            return False
        text = block.replace(b"'", b'"').replace(b": nan", b': "nan"').replace(b"}\n", b"},")
        try:
            found = orjson.loads(b"[" + text[:-1] + b"]")
        except orjson.JSONDecodeError:
            return False
        for offset, row in enumerate(found):
            if not self._dict(Line(number + offset, "", ""), row):
                self.take(number + offset, block.split(b"\n")[offset].decode("utf-8", errors="replace"))
        return True

    def take(self, number: int, text: str) -> None:
        """Take one line."""
        if text[:1] == "{" and text.rstrip()[-1:] == "}" and not self._wrapped:
            found = dicts.quick(text.rstrip())
            if found is not None and self._dict(Line(number, text, text), found):
                self._after_metric(None)
                return
        line = clean(number, text)
        if not line.body.strip():
            self._block = ""
            return
        if self._wrap(line):
            return
        if self._metrics(line):
            self._after_metric(line)
            return
        self._metric_before = False
        self._words(line)

    def finish(self) -> Run:
        """What was read."""
        if self._wrapped:
            self._unwrap()
        self._rows.fill(self._run)
        step = None if math.isnan(self._step) else int(self._step)
        self._run.events.extend(self._events.finish(step))
        self._run.events.sort(key=lambda event: event.source.line or 0)
        return self._run

    def _after_metric(self, line: Line | None) -> None:
        self._metric_before = True
        if line is not None:
            self._events.interrupt(line)

    def _wrap(self, line: Line) -> bool:
        """Joins a dict that was wrapped over several lines."""
        body = line.body.lstrip()
        if self._wrapped:
            self._wrapped.append(line)
            if "}" in body or len(self._wrapped) > MAX_WRAPPED:
                self._unwrap()
            return True
        if body[:2] in ("{'", '{"') and "}" not in body:
            self._wrapped = [line]
            return True
        return False

    def _unwrap(self) -> None:
        lines, self._wrapped = self._wrapped, []
        whole = dicts.parse(" ".join(line.body for line in lines))
        first = lines[0]
        if whole is not None and self._dict(first, whole.fields, step=whole.step):
            self._after_metric(first)
            return
        for line in lines:
            if not self._metrics(line):
                self._words(line)

    def _metrics(self, line: Line) -> bool:
        body = line.body
        bar = bars.parse(body)
        if bar is not None:
            rest = self._bar(line, bar)
            if rest is None:
                return True
            body = rest
        if not any(character.isdigit() for character in body) and "nan" not in body.lower():
            return self._header(body)
        if "':" in body or '":' in body or "Output(" in body:
            row = dicts.parse(body)
            if row is not None and self._dict(line, row.fields, step=row.step):
                if row.rest and bar is None:
                    self._events.feed(Line(line.number, row.rest, row.rest, line.rank), self._now())
                return True
        row = self._table.feed(body)
        if row is not None:
            self._add(line, row)
            return True
        return self._pairs(line, body)

    def _header(self, body: str) -> bool:
        block = _BLOCK.match(body.strip())
        self._block = block["what"] if block else self._block
        self._table.feed(body)
        return False

    def _pairs(self, line: Line, body: str) -> bool:
        block = _BLOCK.match(body.strip())
        if block:
            self._block = block["what"]
            return False
        bullet = _BULLET.match(body)
        anchored = bool(self._block) or (bullet is not None and "|" in bullet[0])
        row = pairs.parse(body[bullet.end() :] if bullet else body, anchored=anchored)
        if row is None:
            self._context(body)
            return False
        if self._is_setting(row):
            return False
        self._named_by_block(row)
        row.step = row.step if row.step == row.step or row.within else self._step_context(row)
        self._add(line, row)
        return True

    def _named_by_block(self, row: Row) -> None:
        prefix = {"eval": "eval_", "predict": "eval_", "test": "eval_"}.get(self._block, "")
        if prefix:
            row.fields = {
                key if key.startswith(("eval", "predict", "test", "epoch")) else prefix + key: value
                for key, value in row.fields.items()
            }
        for key in [key for key in row.fields if normal(key) in EPOCH_KEYS]:
            row.epoch = dicts_number(row.fields.pop(key))

    def _is_setting(self, row: Row) -> bool:
        """A lone pair that names a setting as well as a metric, with nothing around that says which run step."""
        if self._block or self._metric_before or row.step == row.step or row.epoch == row.epoch or row.within:
            return False
        return all(config_name(key) is not None and series_name(key) != "loss" for key in row.fields)

    def _context(self, body: str) -> None:
        row, _ = pairs.position(body)
        if row.epoch == row.epoch and len(body) < 2 * AROUND_DICT:
            self._epoch = row.epoch
            self._first_epoch = row.epoch if math.isnan(self._first_epoch) else self._first_epoch

    def _step_context(self, row: Row) -> float:
        return NAN if row.epoch == row.epoch else self._step

    def _add(self, line: Line, row: Row) -> None:
        epoch = row.epoch if row.epoch == row.epoch else self._epoch
        if row.within is not None:
            first = self._first_epoch = epoch if math.isnan(self._first_epoch) else self._first_epoch
            done, total = row.within
            row.step = done if math.isnan(epoch) else (epoch - first) * total + done
        for name, value in row.settings.items():
            self._setting(line, name, value, str(value))
        self._rows.add(row.fields, line.number, step=row.step, epoch=epoch, group=_group(line))

    def _dict(self, line: Line, found: dict[str, Any], *, step: float = NAN) -> bool:
        """A printed dict: metrics, settings, or neither."""
        kind = _kind(tuple(found))
        if kind == "metrics":
            self._rows.add(found, line.number, step=self._step if math.isnan(step) else step, group=_group(line))
            return True
        if kind == "settings":
            for key, value in found.items():
                name = settings.setting(key)
                if name is not None and not isinstance(value, dict):
                    self._setting(line, name, value, str(value))
        return False

    def _bar(self, line: Line, bar: bars.Bar) -> str | None:
        """Note how far the run is; returns the rest of the line, None when the bar was all of it."""
        body = line.body
        if bar.postfix:
            row = pairs.parse(bar.postfix, anchored=False)
            if row is not None:
                self._bar_row(line, bar, row)
        elif not bar.title and bar.total > 1:
            self._plain_bar(bar)
        rest = (body[: bar.start] + " " + body[bar.end :]).strip()
        return rest or None

    def _plain_bar(self, bar: bars.Bar) -> None:
        if math.isnan(self._total) or bar.total == self._total:
            self._total = bar.total
            if bar.done > 0 or not math.isnan(self._step):
                self._step = bar.done
            if bar.epoch is not None:
                self._epoch = bar.epoch

    def _bar_row(self, line: Line, bar: bars.Bar, row: Row) -> None:
        if bar.epoch is not None and math.isnan(row.epoch):
            row.epoch = bar.epoch
        if math.isnan(row.step):
            row.within = (bar.done, bar.total)
        state = (bar.done, bar.epoch, tuple(row.fields.items()))
        if state != self._last_bar:
            self._last_bar = state
            self._add(line, row)

    def _words(self, line: Line) -> None:
        step = self._now()
        for name, value, raw in settings.find(line.body):
            self._setting(line, name, value, raw)
        for name, value, raw in settings.dumped(line.body):
            self._setting(line, name, value, raw)
        self._events.feed(line, step)

    def _now(self) -> int | None:
        return None if math.isnan(self._step) else int(self._step)

    def _setting(self, line: Line, name: str, value: Any, raw: str) -> None:
        source = Source(file=self._shown, line=line.number, cell=self._cell)
        known = self._run.config.get(name, [])
        if any(same.value == value and type(same.value) is type(value) for same in known):
            return
        self._run.add_setting(name, Value(value=value, source=source, raw=raw, authority=Authority.RECORDED))


_KINDS: dict[tuple[str, ...], str] = {}
MAX_KINDS = 10_000


def _kind(keys: tuple[str, ...]) -> str:
    """Whether the keys of a printed dict are metrics, settings or neither."""
    kind = _KINDS.get(keys)
    if kind is None:
        metrics = [key for key in keys if series_name(key) is not None]
        sure = [key for key in metrics if config_name(key) is None or normal(key) == "loss"]
        placed = any(normal(key) in EPOCH_KEYS for key in keys)
        kind = "metrics" if sure or (metrics and placed) else "settings" if any(map(config_name, keys)) else "none"
        if len(_KINDS) < MAX_KINDS:
            _KINDS[keys] = kind
    return kind


def _group(line: Line) -> str:
    if line.rank:
        return f"rank {line.rank}"
    return "deepspeed" if "skipped=" in line.body and "mom=" in line.body else ""


def dicts_number(value: Any) -> float:
    """A field as a float, NaN when it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return NAN
