"""What a guard says of a fault: facts in the record, a short text, and the full diagnosis beside the series."""

from __future__ import annotations

import logging
import math
from io import StringIO
from typing import TYPE_CHECKING, Any

from holter.diagnosis.result import Diagnosis, Verdict
from holter.guard.examine import Examination
from holter.guard.record import REPORTS

if TYPE_CHECKING:
    from holter.guard.core import Core

logger = logging.getLogger("holter")

FACTS = ("phase", "module", "kind", "dtype", "input_max", "weight_max", "needed_max", "headroom_bits", "rows")
MOST_LEFT = 3  # causes named in one line where none is settled
MORE = ("batch_rows", "others_break", "targets", "fp32_loss", "mended", "loss", "outside", "own_loss")


def tell(core: Core, found: Examination | None, everyone: list[Any]) -> None:
    """Record a fault and, on the first process, write and log it.

    Args:
        core: the guard.
        found: this process's examination.
        everyone: the summaries of all processes, by rank.
    """
    rank, told = _culprit(everyone)
    if told is None:
        core.record.event("fault", "a process saw a fault and could not say more", step=core.step.index)
        core.record.flush()
        return
    facts(core, told["breakdown"])
    core.record.fact("guard.fault_step", told["step"])
    ranks = [i for i, s in enumerate(everyone) if s is not None and _is_bad(s)]
    core.record.fact("guard.fault_ranks", ranks)
    whose = f"rank {rank}: " if len(everyone) > 1 else ""
    text = f"{whose}{told['why']} ({told['where']})"
    core.record.event("fault", text, step=told["step"], rank=rank, grad_norm=told["grad_norm"], loss=told["loss"])
    if not core.record.reaches("grad_norm", told["step"] + 1):
        core.record.row(told["step"] + 1, _numbers(told))
    core.record.flush()
    if core.peers.rank == 0:
        short = _diagnosis_or_why_not(core, told["step"])
        core.announce(f"step {told['step'] + 1}: {text}\n{short}")


def facts(core: Core, breakdown: dict[str, Any]) -> None:
    """The replay as facts named ``replay.*``; numbers that were not measured are left out."""
    for name in (*FACTS, *MORE):
        value = breakdown.get(name)
        known = value is not None and not (isinstance(value, float) and math.isnan(value) and name != "loss")
        if known:
            core.record.fact(f"replay.{name}", value)


def _culprit(everyone: list[Any]) -> tuple[int, Any]:
    """The first process whose loss broke, else whose own numbers did, else the first that could say anything. While a
    loss scale is searched for, gradients may break beside a broken loss, and say less."""
    told = [(i, s) for i, s in enumerate(everyone) if s is not None]
    for check in (_lost, _is_bad, lambda s: bool(s["phase"]), lambda s: True):
        for rank, summary in told:
            if check(summary):
                return rank, summary
    return 0, None


def _is_bad(summary: Any) -> bool:
    """Gradients are averaged over processes, so only the loss and the replay say where a fault began."""
    return _lost(summary) or bool(summary["phase"])


def _lost(summary: Any) -> bool:
    return not math.isfinite(summary["loss"])


def _numbers(told: dict[str, Any]) -> dict[str, float]:
    return {"loss": float(told["loss"]), "grad_norm": float(told["grad_norm"])}


def _diagnosis_or_why_not(core: Core, step: int) -> str:
    """A report that cannot be made must not end the watch: the next step may be broken too."""
    try:
        return _diagnosis(core, step)
    except Exception as error:  # a full disk, or an error of ours
        logger.warning("the report could not be made", exc_info=error)
        return f"cause: not judged, the report could not be made: {type(error).__name__}: {error}"


def _diagnosis(core: Core, step: int) -> str:
    """Write the diagnosis of the record as text and JSON; the first lines of the text."""
    from holter.diagnosis import diagnose
    from holter.reports import write

    result = diagnose(core.record.run)
    folder = core.record.folder / REPORTS
    if core.record.writes:
        folder.mkdir(parents=True, exist_ok=True)
        for form, ending in (("text", "txt"), ("json", "json"), ("html", "html")):
            stream = StringIO()
            write(result, core.record.run, form, stream)
            (folder / f"step-{step + 1}.{ending}").write_text(stream.getvalue(), encoding="utf-8")
    if result.verdict is Verdict.FAULT and result.causes:
        core.record.fact("guard.cause", result.causes[0].cause)
    return f"cause: {_cause(result)}; report: {folder / f'step-{step + 1}.txt'}"


def _cause(result: Diagnosis) -> str:
    """The cause, or those that the evidence leaves."""
    if result.verdict is Verdict.FAULT and result.causes:
        first = result.causes[0]
        return f"{first.cause} ({first.confidence:.0%}, {first.basis.word}): {first.title}"
    left = [f"{c.cause} ({c.confidence:.0%})" for c in result.causes[:MOST_LEFT]]
    return f"undetermined{', closest ' if left else ''}{', '.join(left)}"
