"""The Run itself: series, settings, facts, rows of tables, events, code, files and gaps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from holter.names import told_name
from holter.run.code import Code
from holter.run.series import Series
from holter.run.told import Event, Gap, Input
from holter.run.values import Authority, Value, form

SCHEMA = "holter.run/1"


@dataclass(kw_only=True)
class Run:
    """The one record of a training run.

    Attributes:
        series: name -> the series that is believed (one source).
        other_series: the same quantity from other sources, or from earlier attempts in the same folder.
        config: setting -> its spellings, most authoritative first; names as in `holter.names`.
        facts: measured or observed value -> its spellings, likewise.
        variants: rows of ``runs.yaml``-like tables: one mapping a run, values plain data.
        events: what the run said in words, in file order.
        code: what was found in parsed source code.
        inputs: every file looked at.
        gaps: what could not be read.
    """

    series: dict[str, Series] = field(default_factory=dict)
    other_series: list[Series] = field(default_factory=list)
    config: dict[str, list[Value]] = field(default_factory=dict)
    facts: dict[str, list[Value]] = field(default_factory=dict)
    variants: list[dict[str, Value]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    code: list[Code] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def setting(self, name: str) -> Value | None:
        """The believed spelling of a setting, None when nobody gave it (defaults count as given by the library)."""
        found = self.config.get(name)
        return found[0] if found else None

    def get(self, name: str, default: Any = None) -> Any:
        """The plain value of a setting, or ``default``."""
        value = self.setting(name)
        return default if value is None else value.value

    def fact(self, name: str) -> Value | None:
        """The believed spelling of a fact, or None."""
        found = self.facts.get(name)
        return found[0] if found else None

    def add_setting(self, name: str, value: Value) -> None:
        """Add a spelling, keeping the most authoritative first and the order of arrival within a rank."""
        _insert(self.config.setdefault(name, []), value)

    def add_fact(self, name: str, value: Value) -> None:
        """Add a measured or observed value likewise, under its plain name where a person named it."""
        if value.authority is Authority.FACT:
            name = told_name(name)
        _insert(self.facts.setdefault(name, []), value)

    def events_of(self, *kinds: str) -> list[Event]:
        """Events of the given kinds, in file order; all of them when no kind is given."""
        return [e for e in self.events if not kinds or e.kind in kinds]

    def conflicts(self) -> Iterator[tuple[str, list[Value]]]:
        """Settings that two sources give differently, defaults aside; one spelling a distinct value."""
        for name, values in sorted(self.config.items()):
            distinct: dict[object, Value] = {}
            for value in values:
                if not value.is_default:
                    distinct.setdefault(form(name, value.value), value)
            if len(distinct) > 1:
                yield name, list(distinct.values())


def _insert(values: list[Value], new: Value) -> None:
    at = bisect_right(values, -new.authority, key=lambda value: -value.authority)
    values.insert(at, new)
