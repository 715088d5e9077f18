"""What a probe is: one measurement of live objects that writes plain numbers into a Run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holter.probes.subject import Subject
from holter.run import Authority, Run, Source, Value


class Lacks(Exception):
    """A probe cannot measure: the message says what the subject lacks."""


@dataclass(kw_only=True)
class Notebook:
    """Where a probe writes.

    Attributes:
        run: the record.
        probe: name of the probe, which becomes the source of its facts.
        subject: what is measured.
        batches: the first collated batches, on the CPU, the same for all probes.
        shared: results that later probes need, by name (``logits`` of the first batch, ...).
    """

    run: Run
    probe: str
    subject: Subject
    batches: list[dict[str, Any]] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)

    def fact(self, name: str, value: Any) -> None:
        """Write a measured fact: plain data (numbers, text, lists, mappings)."""
        self.run.add_fact(name, self._value(value))

    def setting(self, name: str, value: Any) -> None:
        """Write a setting as it is in the live objects."""
        self.run.add_setting(name, self._value(value))

    def _value(self, value: Any) -> Value:
        return Value(value=value, source=Source(file="live objects", key=self.probe), authority=Authority.MEASURED)


Probe = Callable[[Subject, Notebook], None]
"""Measures and writes; raises `Lacks` where the subject has nothing to measure."""
