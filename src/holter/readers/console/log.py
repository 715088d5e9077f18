"""Reads one log line by line: each line is offered to the grammars in turn, what none takes becomes an event."""

from __future__ import annotations

import math
import re
from typing import Any

from holter.names import config_name, normal, series_name
from holter.patterns import regex
from holter.quantity import TRAIN
from holter.readers.console import bars, columns, dicts, lists, pairs, phases, settings, tables
from holter.readers.console.events import Events, says_something_else
from holter.readers.console.lines import Line, clean, decode
from holter.readers.console.place import Place
from holter.readers.console.prefixes import Prefixes
from holter.readers.console.row import Row
from holter.readers.console.stretch import WHITE_SPACE, Stretch, stretches
from holter.readers.console.waiting import Waiting
from holter.readers.row_plan import EPOCH_KEYS
from holter.readers.rows import Rows
from holter.run import EVENT_MESSAGE, NAN, Authority, Event, Run, Source, Value

_NUMBER = regex(r"\d|nan|inf", re.IGNORECASE)
_BLOCK = regex(r"^\*{3,}\s*(?P<what>\w+) (?:metrics|results?)\b[^*]*\*{3,}$", re.IGNORECASE)
_BULLET = regex(r"^\s*(?:\|\s*>|-{1,2}>|\*|-)\s+")
_PREFIX_OF_BLOCK = {"eval": "eval_", "predict": "eval_", "test": "eval_"}
MAX_WRAPPED = 40  # lines a printed dict may be wrapped over


class Log:
    """Reads one log.

    Args:
        shown: the file as told to the user.
        cell: 1-based notebook cell.
    """

    def __init__(self, shown: str, *, cell: int | None = None) -> None:
        self._shown, self._cell = shown, cell
        self._rows, self._events = Rows(shown, cell=cell), Events(shown, cell)
        self._run, self._table, self._place = Run(), tables.Table(), Place()
        self._columns = columns.Columns()
        self._prefixes, self._block = Prefixes(), ""
        self._metric_before = False
        self._wrapped: list[Line] = []
        self._waiting = Waiting(self._place)
        self._announced = pairs.Announced()
        self._held_out: tuple[Line, Row] | None = None
        self._last_bar_row: tuple[Any, ...] = ()

    def take_block(self, first: int, block: bytes) -> None:
        """Take whole lines, the first of which has the number ``first``."""
        for stretch in stretches(first, block, self._prefixes):
            if not self._take_stretch(stretch):
                for number, part in zip(stretch.numbers, stretch.parts, strict=True):
                    self.take(number, decode(part))

    def _take_stretch(self, stretch: Stretch) -> bool:
        """Take dicts and bars at once; False when they have to be taken one by one."""
        rows = stretch.rows() if stretch.sorted and not self._wrapped else None
        if rows is None:
            return False
        if WHITE_SPACE in stretch.bars:
            self._block = ""
        steps = self._waiting.steps(stretch, rows)
        ranks = {rank: int(rank) if rank else None for rank in {*stretch.ranks, b""}}
        names = {rank: _group(Line(0, "", "", number)) for rank, number in ranks.items()}
        self._rows.add_rows(rows, stretch.lines, steps=steps, groups=[names[rank] for rank in stretch.ranks])
        for rank in set(stretch.ranks) or [b""]:
            self._events.interrupt(ranks[rank])
        if self._waiting.slot is not None and self._waiting.slot[0] is steps:
            self._waiting.slot = self._rows.slot(rows[-1])
        self._metric_before = self._metric_before or bool(rows)
        return True

    def take(self, number: int, text: str) -> None:
        """Take one line, or what stands in it between two carriage returns."""
        line = Line(number, text, text)
        if self._simple(line):
            return
        line = clean(number, text)
        if not line.body.strip():
            self._block = ""
        elif (line.body == text or not self._simple(line)) and not self._wrap(line):
            self._take(line)

    def _simple(self, line: Line) -> bool:
        """Take a line that is one whole dict or the bar of the run; False for any other."""
        if self._wrapped:
            return False
        body = line.body.rstrip()
        if body[:1] == "{" and body[-1:] == "}":
            found = dicts.quick(body)
            if found is not None and self._dict(line, found):
                self._metric_before = True
                return True
        bar = bars.plain(body)
        if bar is None:
            return False
        if self._place.see_bar(line.number, bar):
            self._waiting.settle()
        return True

    def finish(self) -> Run:
        """What was read."""
        self._unwrap()
        self._waiting.settle()
        self._pass_over()
        self._rows.fill(self._run)
        _settle_tests(self._run)
        self._last_bar()
        self._run.events.extend(self._events.finish(self._place.now))
        self._run.events.sort(key=lambda event: event.source.line or 0)
        return self._run

    def _take(self, line: Line) -> None:
        self._metric_before = self._metrics(line)
        if self._metric_before:
            self._events.interrupt(line.rank)
        else:
            self._words(line)

    def _wrap(self, line: Line) -> bool:
        """Join a dict that was wrapped over several lines."""
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
        whole = dicts.parse(" ".join(line.body for line in lines)) if lines else None
        if whole is not None and self._dict(lines[0], phases.named_all(whole.fields), step=whole.step):
            self._metric_before = True
            return
        for line in lines:
            self._take(line)

    def _metrics(self, line: Line) -> bool:
        """Whether the line is about metrics or progress only."""
        body, bar = line.body, bars.parse(line.body)
        if bar is not None:
            body = self._bar(line, bar)
            if not body:
                return True
        else:
            self._waiting.settle()
        if _NUMBER.search(body) is None:
            self._heading(body)
            return False
        if "':" in body or '":' in body or "Output(" in body:
            row = dicts.parse(body)
            if row is not None and self._dict(line, row.fields, step=row.step, exact=bar is not None):
                if row.rest and bar is None:
                    self._events.feed(Line(line.number, row.rest, row.rest, line.rank), self._place.now)
                return True
        row = self._table.feed(body)
        if row is not None:
            if row.rest:
                self._events.feed(Line(line.number, row.rest, row.rest, line.rank), self._place.now)
            self._add(line, row)
            return True
        if "[" in body and (rows := lists.parse(body)):
            for row in rows:
                self._add(line, row)
            return True
        if bar is None and (placed := self._columns.feed(line.number, body)):
            for number, row in placed:
                self._add(Line(number, body, body, line.rank), row)
            return True
        return self._pairs(line, body, beside_bar=bar is not None and bool(bar.postfix))

    def _heading(self, body: str) -> None:
        block = _BLOCK.match(body.strip())
        self._block = block["what"].lower() if block else ""
        self._announced.see(body)
        self._table.feed(body)

    def _pairs(self, line: Line, body: str, *, beside_bar: bool = False) -> bool:
        if says_something_else(body):
            return False
        bullet = _BULLET.match(body)
        anchored = bool(self._block) or (bullet is not None and "|" in bullet[0]) or beside_bar
        start = bullet.end() if bullet and "*" not in bullet[0] else 0
        row = self._announced.parse(body[start:], anchored=anchored, near=self._metric_before)
        if row is None:
            if self._place.see_heading(body, pairs.position(body)[0]):
                self._announced.rows = ""
            return False
        if not beside_bar and self._is_setting(row):
            return False
        self._name_by_block(row)
        if math.isnan(row.step) and math.isnan(row.epoch) and row.within is None:
            row.step = self._place.step
        self._add(line, row)
        return True

    def _name_by_block(self, row: Row) -> None:
        prefix = _PREFIX_OF_BLOCK.get(self._block, "")
        if prefix:
            own = ("eval", "predict", "test", "epoch")
            row.fields = {k if k.startswith(own) else prefix + k: value for k, value in row.fields.items()}
        for key in [key for key in row.fields if normal(key) in EPOCH_KEYS]:
            row.epoch = float(row.fields.pop(key))

    def _is_setting(self, row: Row) -> bool:
        """A lone pair that names a setting as well as a metric, with nothing around that says which step."""
        if self._block or self._metric_before or row.step == row.step or row.epoch == row.epoch or row.within:
            return False
        return all(config_name(key) is not None and series_name(key) != "loss" for key in row.fields)

    def _pass_over(self) -> None:
        if self._held_out is not None:
            (line, row), self._held_out = self._held_out, None
            self._add(line, row)

    def _add(self, line: Line, row: Row) -> None:
        self._pass_over()
        self._place.settle(row)
        for name, value in row.settings.items():
            self._setting(line.number, name, value, str(value))
        if row.fields:
            self._rows.add(row.fields, line.number, step=row.step, epoch=row.epoch, group=_group(line))

    def _dict(self, line: Line, found: dict[str, Any], *, step: float = NAN, exact: bool = False) -> bool:
        """A printed dict: metrics, settings, or neither; ``exact`` when its progress bar stands in the same line."""
        kind = dicts.kind(tuple(found))
        if kind == "metrics":
            self._waiting.settle()
            self._events.interrupt(line.rank)
            group = _group(line)
            placed = not math.isnan(self._place.total) and math.isnan(step)
            waits = placed and "loss" in found and not line.rank
            self._rows.add(found, line.number, step=self._place.step if placed and not waits else step, group=group)
            if waits:
                self._waiting.slot = self._rows.slot(found, group)
                if exact:
                    self._waiting.settle()
            return True
        if kind == "settings":
            for key, value in found.items():
                name = settings.setting(key)
                if name is not None and not isinstance(value, dict):
                    self._setting(line.number, name, value, str(value))
        return False

    def _bar(self, line: Line, bar: bars.Bar) -> str:
        """Note how far the run is; returns the rest of the line."""
        body = line.body
        rows = phases.between(bar.title)
        row = pairs.parse(bar.postfix, rows=rows) if bar.postfix else None
        cells = self._table.feed(bar.title) if self._table.opened and bar.done == bar.total else None
        if cells is not None:
            self._add(line, cells)
        elif row is not None and rows not in ("", TRAIN):
            self._held_out_bar(line, row)
        elif row is not None:
            self._bar_row(line, bar, row)
        elif self._place.see_bar(line.number, bar):
            self._waiting.settle()
        return (body[: bar.start] + " " + body[bar.end :]).strip()

    def _held_out_bar(self, line: Line, row: Row) -> None:
        """A bar over held-out rows shows a mean so far: the last one of a pass is that of all rows."""
        row.step, row.within = self._place.step, None
        self._place.settle(row)
        self._held_out = (line, row)

    def _bar_row(self, line: Line, bar: bars.Bar, row: Row) -> None:
        if bar.epoch is not None and math.isnan(row.epoch):
            row.epoch = bar.epoch
        if math.isnan(row.step):
            row.within = (bar.done, bar.total)
        state = (bar.done, bar.epoch, self._place.epoch, tuple(row.fields.items()))
        if state != self._last_bar_row:
            self._last_bar_row = state
            self._add(line, row)

    def _last_bar(self) -> None:
        """How far the run came, as the last bar without a title shows."""
        if self._place.last is None:
            return
        number, bar = self._place.last
        if "max_steps" not in self._run.config:
            self._setting(number, "max_steps", int(bar.total), f"{bar.done:g}/{bar.total:g}")
        source = Source(file=self._shown, line=number, cell=self._cell)
        data = {"done": bar.done, "total": bar.total}
        self._run.events.append(Event(kind=EVENT_MESSAGE, text=bar.text, source=source, step=int(bar.done), data=data))

    def _words(self, line: Line) -> None:
        for name, value, raw in (*settings.find(line.body), *settings.dumped(line.body)):
            self._setting(line.number, name, value, raw)
        self._events.feed(line, self._place.now)

    def _setting(self, line: int, name: str, value: Any, raw: str) -> None:
        known = self._run.config.get(name, [])
        if any(same.value == value and type(same.value) is type(value) for same in known):
            return
        source = Source(file=self._shown, line=line, cell=self._cell)
        self._run.add_setting(name, Value(value=value, source=source, raw=raw, authority=Authority.RECORDED))


def _settle_tests(run: Run) -> None:
    """Test rows are the evaluation where nothing else was held out; beside validation they stay on their own."""
    for name in [name for name in run.series if name.startswith(phases.TEST_PREFIX)]:
        series = run.series.pop(name)
        bare = name.removeprefix(phases.TEST_PREFIX)
        series.name = f"eval_{bare}" if f"eval_{bare}" not in run.series else f"test_{bare}"
        run.series[series.name] = series


def _group(line: Line) -> str:
    if line.rank:
        return f"rank {line.rank}"
    return "deepspeed" if "skipped=" in line.body else ""
