"""MOD025 loss-weight-zero."""

from __future__ import annotations

import math
from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import is_preference, is_reinforcement
from holter.checks.look import calls, known
from holter.checks.symptoms import number, numbers
from holter.finding import Change, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

WEIGHTS = ("beta", "loss_weight", "loss_coef", "ce_weight", "lm_loss_weight", "alpha_ce", "loss_scale_factor")
"""Factors of a whole loss. ``beta`` multiplies the log-ratio of a preference loss; in reinforcement learning it is the
weight of a penalty, where 0 is common."""


TRAINERS = (
    "DPOTrainer",
    "DPOConfig",
    "CPOTrainer",
    "CPOConfig",
    "KTOTrainer",
    "KTOConfig",
    "IPOTrainer",
    "SimPOTrainer",
)
CLOSE = 1e-3
"""Nats: logs print four digits."""


class LossWeightZero(Check):
    """What it looks for
        A factor of the loss that is 0: ``beta`` of a preference loss, or the weight of the only loss.

    Why it hurts
        The loss does not depend on the model, so it is constant (ln 2 for DPO) and its gradient is 0.

    How to fix it
        Set it: 0.1 is usual for DPO's ``beta``.

    When to ignore it
        ``beta`` of 0 in GRPO switches a penalty off and is fine: no finding.

    Threshold
        Exactly 0.

    Sources
        DPO (arXiv 2305.18290).
    """

    code = "MOD025"
    name = "loss-weight-zero"
    title = "A factor of the loss is zero"
    severity = Severity.ERROR
    stage = Stage.LOSS
    needs = Needs(any_of=tuple((name,) for name in WEIGHTS))
    bad = (case("dpo", config={"beta": 0.0, "task": "dpo"}),)
    good = (case("dpo", config={"beta": 0.1, "task": "dpo"}), case("grpo", config={"beta": 0.0, "task": "grpo"}))
    not_enough = (case("no factor", config={"task": "dpo"}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """``beta`` only where it weighs the whole loss."""
        for name in WEIGHTS:
            found = known(run, name)
            if found is None or number(found.plain) != 0.0 or found.value.is_default:
                continue
            if name == "beta" and (is_reinforcement(run) or not (is_preference(run) or _preference(run))):
                continue
            yield self.finding(
                f"{name} is 0, so the loss is constant",
                evidence=[found.evidence],
                clues=clues(f"{name} is 0", loss_coefficient_zero=8),
                fix=Fix(summary=f"Give {name} a positive value.", changes=(Change(key=name, new=0.1, old=0.0),)),
            )


def _preference(run: Run) -> bool:
    """Whether the script trains on pairs, or the loss stands at the value of a preference loss without a weight."""
    losses = [v for name in ("loss", "train_loss") for v in run.series.get(name, ())]
    losses += [v for value in run.facts.get("loss", ()) for v in numbers(value.value)]
    constant = bool(losses) and all(abs(v - math.log(2)) < CLOSE for v in losses)
    return constant or any(True for _ in calls(run, *TRAINERS))
