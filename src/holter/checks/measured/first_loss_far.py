"""GRD010 first-loss-far."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.measured.replayed import evidence, number
from holter.finding import Basis, Finding, Severity
from holter.run import Run
from holter.stages import Stage

FAR_NATS = 2.0  # random logits of standard deviation 2 cost two nats beyond ln(classes)
FAR_TIMES = 1.5  # and by this much more than ln(classes), for large vocabularies


class FirstLossFar(Check):
    """What it looks for
        The true loss of the first step, recomputed from its logits, far above ln(number of classes or entries).

    Why it hurts
        A model that knows nothing guesses and gets ln(K). More means confident nonsense: a head with large weights,
        labels that mean something else, or logits scaled wrongly.

    How to fix it
        Look at the head's initialisation and at label ids against num_labels.

    When to ignore it
        For a pretrained classifier on labels it was trained to avoid.

    Threshold
        2 nats and 1.5 times: random logits of standard deviation s cost s^2/2 nats beyond ln(K), so 2 nats is s = 2;
        fresh heads of the libraries have s well below 1.

    Sources
        Gaussian logits: E[log sum exp] - ln K tends to s^2/2.
    """

    code = "GRD010"
    name = "first-loss-far"
    title = "The first loss is far above that of a guess"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(facts=("guard.first_loss",))
    bad = (case("64 at 280 classes", facts={"guard.first_loss": 64.5, "guard.first_loss_classes": 280}),)
    good = (
        case("a guess", facts={"guard.first_loss": 5.7, "guard.first_loss_classes": 280}),
        case("a little above", facts={"guard.first_loss": 1.6, "guard.first_loss_classes": 2}),
    )
    not_enough = (case("nothing was measured"),)

    def detect(self, run: Run) -> Iterator[Finding]:
        """One finding."""
        loss, classes = number(run, "guard.first_loss"), number(run, "guard.first_loss_classes")
        guess = math.log(classes) if classes > 1 else math.nan
        if not (loss > guess + FAR_NATS and loss > FAR_TIMES * guess):
            return
        yield self.finding(
            f"The first loss is {loss:.4g}; a guess among {classes:.0f} gives {guess:.4g}",
            evidence=[evidence(run, "guard.first_loss", f"loss of the first step from its logits: {loss:.4g}")],
            clues=clues("the loss was recomputed from the logits", head_initialisation=3),
            step=0,
            basis=Basis.MEASURED,
        )
