"""NUM006 family-overflows-fp16."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import Compute, family, precision
from holter.checks.look import half_weights, known, mixed_half, written
from holter.checks.messages import said
from holter.checks.shape import shape
from holter.checks.symptoms import broken
from holter.finding import Change, Finding, Fix, Severity
from holter.knowledge.families import Fp16Record
from holter.run import Run
from holter.stages import Stage

HEALTHY_POINTS = 2
"""Finite losses that fall: two are enough to say that this run does not overflow where others did."""


class FamilyOverflowsFp16(Check):
    """The model belongs to a family whose activations leave the range of fp16, and fp16 is on.

    What it looks for: a model family with a public record of overflow under fp16, together with fp16 training. Where
    the log already shows finite losses that fall it is only noted.

    Why it hurts: such models were pre-trained in bf16, which reaches 3e38. In fp16 the first overflow gives inf, the
    next subtraction NaN, and from then on every loss is NaN.

    How to fix it: bf16=True on cards that have it, otherwise fp32. For the T5 family an exact rescale of embeddings,
    attention ``o`` and feed-forward ``wo`` by a power of two makes the activations fit.

    When to ignore it: with weights that were rescaled or clamped for fp16.

    Threshold: none; the table of families holds what public sources state, with the source of each row.

    Sources: `holter.knowledge.families`; for T5 text-to-text-transfer-transformer issue 539.
    """

    code = "NUM006"
    name = "family-overflows-fp16"
    title = "fp16 with a model family that overflows it"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    factor = "fp16"
    needs = Needs(any_of=(("model_name_or_path",), ("model",), ("model_type",), ("architectures",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        row, found = family(run), precision(run)
        if row is None or row.fp16 is not Fp16Record.OVERFLOWS or found.compute is not Compute.FP16:
            return
        if mixed_half(run) is None and half_weights(run) is None and broken(run) is None:
            return  # only a loss scaler was seen, and a falling scale is how every such run begins
        model = next(k for name in _NAMES if (k := known(run, name)) is not None)
        evidence = [model.evidence] + ([found.says] if found.says is not None else [])
        learns = _learns(run)
        # once the run is broken NUM001 and NUM002 weigh family and precision, so this adds little
        weight = 1.0 if broken(run) is not None else -1.0 if learns else 3.0
        origin = row.pretrained or "a wider format"
        yield self.finding(
            f"{row.name} was pre-trained in {origin} and overflows fp16 at {row.overflows_at}",
            evidence=evidence,
            severity=Severity.NOTE if learns else Severity.WARNING,
            clues=clues(f"{row.name} under fp16; see {row.source}", fp16_overflow=weight),
            fix=_fix(run),
        )

    bad = [
        case("mT5", config={"model_name_or_path": "google/mt5-small", "fp16": True}),
        case("T5 class", config={"architectures": ["T5ForConditionalGeneration"], "precision": "fp16"}),
        case("it learns, so a note", config={"model": "google/mt5-small", "fp16": True}, series={"loss": [29.0, 26.0]}),
    ]
    good = [
        case("bf16", config={"model_name_or_path": "google/mt5-small", "bf16": True}),
        case("another family", config={"model_name_or_path": "bert-base-cased", "fp16": True}),
        case(
            "the scale settles",
            config={"model": "t5-large"},
            events=[said("OVERFLOW! Skipping step. Attempted loss scale: 131072, reducing to 65536", "overflow")],
        ),
        case("fp16 off", config={"model_name_or_path": "t5-large", "fp16": False}),
    ]
    not_enough = [case("no model", config={"fp16": True})]


_NAMES = ("model_name_or_path", "model", "architectures", "model_type")


def _learns(run: Run) -> bool:
    """Whether a finite loss falls or has come far; a run that broke does not count."""
    loss = run.series.get("loss")
    if loss is None or len(loss) < HEALTHY_POINTS or shape(loss).nonfinite or shape(loss).zeros:
        return False
    return math.isfinite(shape(loss).tail) and loss[len(loss) - 1] < loss[0]


def _fix(run: Run) -> Fix:
    switch = known(run, "fp16")
    if switch is None or written(switch.plain).lower() not in ("true", "1"):
        return Fix(summary="train in bf16 where the card has it, in fp32 otherwise")
    file = switch.value.source.file
    changes = (
        Change(key="fp16", old=switch.plain, new=False, file=file),
        Change(key="bf16", new=True, file=file),
    )
    return Fix(summary="set fp16 to false and bf16 to true (fp32 on cards without bf16)", changes=changes)
