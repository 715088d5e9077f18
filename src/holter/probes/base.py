"""What a probe is: one measurement of live objects that writes plain numbers into a Run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holter.probes.subject import Subject
from holter.run import Authority, Run, Source, Value

MOST_CELLS = 1_024
"""Positions, source and target together, of a batch that probes run through the model. What they measure is a property
of rows and modules and not of the number of rows; a pre-flight on a CPU would take minutes with a full batch."""

LEAST_ROWS = 2  # one row has no neighbour to be compared with


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

    def few(self, index: int = 0) -> dict[str, Any]:
        """The first rows of a batch, at most `MOST_CELLS` positions of them, on the model's device.

        Raises:
            Lacks: there is no such batch.
        """
        import torch

        if index >= len(self.batches):
            raise Lacks("a batch")
        batch = self.batches[index]
        tensors = [v for v in batch.values() if isinstance(v, torch.Tensor) and v.ndim]
        rows = min((len(v) for v in tensors), default=0)
        widths = sum(v.shape[1] for n, v in batch.items() if n in ("input_ids", "labels") and _is_table(v))
        kept = max(LEAST_ROWS, MOST_CELLS // max(widths, 1))
        device = next(self.subject.model.parameters()).device
        return {
            name: (v[:kept] if v.ndim and len(v) == rows else v).to(device) if isinstance(v, torch.Tensor) else v
            for name, v in batch.items()
        }

    def fact(self, name: str, value: Any) -> None:
        """Write a measured fact: plain data (numbers, text, lists, mappings)."""
        self.run.add_fact(name, self._value(value))

    def setting(self, name: str, value: Any) -> None:
        """Write a setting as it is in the live objects."""
        self.run.add_setting(name, self._value(value))

    def _value(self, value: Any) -> Value:
        return Value(value=value, source=Source(file="live objects", key=self.probe), authority=Authority.MEASURED)


def _is_table(value: Any) -> bool:
    return getattr(value, "ndim", 0) == 2


Probe = Callable[[Subject, Notebook], None]
"""Measures and writes; raises `Lacks` where the subject has nothing to measure."""
