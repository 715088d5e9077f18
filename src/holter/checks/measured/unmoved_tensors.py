"""GRD007 tensors-never-move."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.measured.replayed import evidence, fact
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage

HEADS = ("score", "classifier", "lm_head", "modules_to_save")


class TensorsNeverMove(Check):
    """What it looks for
        Tensors with requires_grad that are bit for bit the same after 40 optimizer steps at a learning rate above 0.

    Why it hurts
        They cost memory and learn nothing: they get no gradient, are not in the optimizer, or each update is smaller
        than the spacing of their dtype.

    How to fix it
        Give them to the optimizer, see that the forward pass uses them, or keep trainable weights in fp32.

    When to ignore it
        For parts that are on purpose unused, such as an encoder's pooler.

    Threshold
        40 steps: a LoRA's second factor moves in its second step and a warmup starts at a rate of 0.

    Sources
        Two looks of the guard, at a sample of each tensor and then at the whole of those that stood still.
    """

    code = "GRD007"
    name = "tensors-never-move"
    title = "Trainable tensors have not moved"
    severity = Severity.WARNING
    stage = Stage.UPDATE
    needs = Needs(facts=("guard.unmoved_tensors",))
    bad = (case("a head", facts={"guard.unmoved_tensors": ["score.weight"]}),)
    good = (
        case("all moved", facts={"guard.unmoved_tensors": []}),
        case("none named", facts={"guard.unmoved_tensors": ()}),
    )
    not_enough = (case("nothing was measured"),)

    def detect(self, run: Run) -> Iterator[Finding]:
        """One finding, with a clue from what stands still."""
        names = [str(n) for n in fact(run, "guard.unmoved_tensors") or ()]
        if not names:
            return
        head = any(word in name for name in names for word in HEADS)
        yield self.finding(
            f"{len(names)} trainable tensors have not moved in 40 steps, the first {names[0]}",
            evidence=[evidence(run, "guard.unmoved_tensors", f"not moved: {', '.join(names[:5])}")],
            clues=clues("a head stands still", head_not_trained_or_saved=4 if head else 0),
            basis=Basis.MEASURED,
        )
