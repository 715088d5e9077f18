"""``holter.check``: measure a set-up before it trains, and judge it like any other run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TextIO

from holter.diagnosis import diagnose
from holter.diagnosis.result import Diagnosis, Verdict
from holter.probes import measure
from holter.run import Run


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was measured and what it means."""

    diagnosis: Diagnosis
    run: Run

    @property
    def ok(self) -> bool:
        """Whether no finding of level warning or error came up."""
        return self.diagnosis.verdict is Verdict.HEALTHY

    def write(self, stream: TextIO, form: str = "text") -> None:
        """Write the report; ``form`` is one of text, json, markdown, html, sarif."""
        from holter.reports import write

        write(self.diagnosis, self.run, form, stream)


def check(built: Any) -> Preflight:
    """Measure a built set-up and judge it; two real steps are made and undone.

    Args:
        built: a Trainer, or ``(model, loader[, optimizer])`` of a plain loop.

    Raises:
        ConfigError: it is neither.
    """
    run = measure(built)
    return Preflight(diagnosis=diagnose(run), run=run)
