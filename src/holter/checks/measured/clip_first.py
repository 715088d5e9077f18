"""OPT102 first-gradient-clipped."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number, plain
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

TIMES = 10.0


class FirstGradientClipped(Check):
    """The first gradient is far above max_grad_norm.

    What it looks for: the gradient norm of the first step, measured before clipping, against max_grad_norm.

    Why it hurts: with SGD the step is cut by that factor. Adam divides each gradient by its own size, so a cut
    that is the same at every step changes nothing; one that varies weighs quiet steps more.

    How to fix it: with SGD raise max_grad_norm or the rate; with Adam watch whether it goes on after the
    warmup.

    When to ignore it: with AdamW, as long as the loss falls.

    Threshold: `TIMES` the limit: the first gradients of a new head are several times those that follow.

    Sources: Pascanu et al. 2013, section 3.2 (clipping by norm); Adam, section 2.1 (invariance to the scale of
    gradients).
    """

    code = "OPT102"
    name = "first-gradient-clipped"
    title = "The first gradient is far above max_grad_norm"
    severity = Severity.NOTE
    stage = Stage.CLIP
    needs = Needs(facts=("update.grad_norm",), config=("max_grad_norm",))

    bad = (
        case(
            "SGD", facts={"update.grad_norm": 50.0, "optimizer.divides_by_size": False}, config={"max_grad_norm": 1.0}
        ),
    )
    good = (
        case("three times", facts={"update.grad_norm": 3.0}, config={"max_grad_norm": 1.0}),
        case("clipping is off", facts={"update.grad_norm": 50.0}, config={"max_grad_norm": 0.0}),
    )
    not_enough = (case("no step was made", config={"max_grad_norm": 1.0}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        norm, limit = number(run, "update.grad_norm") or 0.0, run.get("max_grad_norm")
        if not isinstance(limit, (int, float)) or limit <= 0 or norm < TIMES * limit:
            return
        invariant = plain(run, "optimizer.divides_by_size") is not False
        yield self.finding(
            f"the first gradient norm is {norm:.3g}, {norm / limit:.3g} times max_grad_norm"
            + ("; Adam is indifferent to a constant factor" if invariant else ""),
            evidence=[evidence(run, "update.grad_norm"), evidence(run, "optimizer.class")],
            clues=[] if invariant else [Clue(cause="grad-clip-too-strict", bits=2.0, why="the norm was measured")],
            severity=Severity.NOTE if invariant else Severity.WARNING,
            basis=Basis.MEASURED,
        )
