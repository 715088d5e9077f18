"""OPT103 norms-and-biases-decayed."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage

MUCH = 0.1  # a tenth: pre-trained norm scales differ from layer to layer by about as much


class NormsAndBiasesDecayed(Check):
    """Weight decay also pulls norms and biases to zero.

    What it looks for: one-dimensional trainable tensors in an optimizer group with weight decay, and by how
    much the decay alone shrinks them over the planned run.

    Why it hurts: the scale of a norm is meant to be near one; decay pulls it to zero and changes what every
    following layer sees.

    How to fix it: put norms and biases into a group with weight_decay=0, as the Trainer does by itself.

    When to ignore it: when the shrinkage over the run is small.

    Threshold: `MUCH` over the run is a warning, less is a note.

    Sources: transformers, Trainer.get_decay_parameter_names; AdamW, algorithm 2: each step multiplies a weight
    by 1 - rate x weight_decay.
    """

    code = "OPT103"
    name = "norms-and-biases-decayed"
    title = "Weight decay also pulls norms and biases to zero"
    severity = Severity.NOTE
    stage = Stage.UPDATE
    needs = Needs(facts=("optimizer.decayed_norms",))

    bad = (
        case("much", facts={"optimizer.decayed_norms": 25, "optimizer.norm_shrink": 0.4}),
        case("a little", facts={"optimizer.decayed_norms": 25, "optimizer.norm_shrink": 0.001}),
    )
    good = (
        case("none", facts={"optimizer.decayed_norms": 0}),
        case("none, shrinkage 0", facts={"optimizer.decayed_norms": 0, "optimizer.norm_shrink": 0.0}),
    )
    not_enough = (case("no optimizer", facts={"trainable.parameters": 9}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        count, shrink = number(run, "optimizer.decayed_norms") or 0.0, number(run, "optimizer.norm_shrink")
        if not count:
            return
        much = shrink is not None and shrink >= MUCH
        yield self.finding(
            f"weight decay applies to {count:.0f} norms and biases"
            + ("" if shrink is None else f" and shrinks them by {shrink:.2g} of their size over the run"),
            evidence=[evidence(run, "optimizer.decayed_norms"), evidence(run, "optimizer.norm_shrink")],
            severity=Severity.WARNING if much else Severity.NOTE,
            basis=Basis.MEASURED,
        )
