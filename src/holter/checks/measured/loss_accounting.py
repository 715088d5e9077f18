"""LOS101 loss-accounting-off."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.finding import Basis, Change, Clue, Evidence, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

MOST_ROUNDING = 0.02
"""Relative difference from 1 that counts as rounding where the accounting states no tolerance of its own."""

WEIGHTINGS = ("mean of micro-batch means", "mean of per-process means", "mean over all targets")
"""Ways to weigh batches of unequal label counts against each other: a choice, no fault."""

UNSHIFTED = "(L-1)/L"
SMALL = 0.05
"""Largest difference from 1 at which a causal loss divided by L labels, of which L-1 are predicted, is a note: it acts
like a learning rate that is smaller by 1/L, alike at every step, and no one tunes a rate to 5 %."""

_RATIOS = {"loss": "reported loss", "grad": "applied gradient norm", "eval": "reported eval_loss"}


class LossAccountingOff(Check):
    """Loss or gradient of a real step is not what the same samples give when recomputed.

    What it looks for: the ratio of reported loss, applied gradient norm and eval_loss to the ones recomputed from
    logits and labels in fp32 on the same samples.

    Why it hurts: a factor on the loss makes runs incomparable, breaks clip limits and early stopping, and changes every
    step of SGD; a factor on the gradient alone is not even visible in the log.

    How to fix it: set ``trainer.model_accepts_loss_kwargs = False`` where the factor is accumulation or processes;
    otherwise look for what the named terms multiply.

    When to ignore it: never where a factor is named; a compute_loss of your own that sums on purpose gives one too.

    Threshold: the tolerance that the accounting states with its reason, `MOST_ROUNDING` where it states none. A factor
    (L-1)/L alone is a note up to `SMALL`.

    Sources: `holter.accounting`.
    """

    code = "LOS101"
    name = "loss-accounting-off"
    title = "A recomputed loss or gradient differs from what the Trainer uses"
    severity = Severity.ERROR
    stage = Stage.LOSS
    factor = "model_accepts_loss_kwargs"
    needs = Needs(any_of=(("accounting.loss_ratio",), ("accounting.grad_ratio",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        off = [(what, ratio) for what in _RATIOS if (ratio := _off(run, what)) is not None]
        if not off:
            return
        what, ratio = off[0]
        terms = _terms(run, what)
        named = " x ".join(terms) if terms else "no product of known quantities"
        by_accumulation = bool({"gradient_accumulation_steps", "world_size"} & set(terms))
        label = "grad-accum-loss-scale" if terms else "loss-formula-instability"
        yield self.finding(
            f"The {_RATIOS[what]} is {ratio:.4g} times the recomputed one ({named})",
            evidence=[self._evidence(run, name, value) for name, value in off],
            clues=[
                Clue(
                    cause=label,
                    bits=9.0 if by_accumulation else 1.0 if set(terms) == {UNSHIFTED} else 3.0,
                    why="the factor was measured",
                )
            ],
            step=0,
            stage=Stage.EVAL if what == "eval" else Stage.BACKWARD if what == "grad" else Stage.LOSS,
            severity=_severity(what, ratio, terms),
            fix=_FIX if by_accumulation and what != "eval" else None,
            basis=Basis.MEASURED,
        )

    @staticmethod
    def _evidence(run: Run, what: str, ratio: float) -> Evidence:
        fact = run.fact(f"accounting.{what}_ratio")
        text = f"{_RATIOS[what]} / recomputed = {ratio:.6g}"
        return Evidence(text=text, source=fact.source if fact else None, step=1, value=ratio)


_FIX = Fix(
    summary="set trainer.model_accepts_loss_kwargs = False after building the Trainer",
    changes=(Change(key="model_accepts_loss_kwargs", new=False),),
)


def _severity(what: str, ratio: float, terms: list[str]) -> Severity:
    if set(terms) == {UNSHIFTED}:
        return Severity.NOTE if abs(ratio - 1) <= SMALL else Severity.WARNING
    return Severity.ERROR if what != "eval" else Severity.WARNING


def _off(run: Run, what: str) -> float | None:
    """The ratio where it is a fault, else None; how unequal batches are weighed is none."""
    fact, tolerance = run.fact(f"accounting.{what}_ratio"), run.fact("accounting.tolerance")
    if fact is None or not isinstance(fact.value, (int, float)) or not math.isfinite(fact.value):
        return None
    allowed = float(tolerance.value) if tolerance is not None else MOST_ROUNDING
    terms = _terms(run, what)
    if abs(fact.value - 1) <= allowed or (terms and set(terms) <= set(WEIGHTINGS)):
        return None
    return float(fact.value)


def _terms(run: Run, what: str) -> list[str]:
    fact = run.fact(f"accounting.{what}_terms")
    return list(fact.value) if fact is not None and isinstance(fact.value, dict) else []


_FOUR = {"gradient_accumulation_steps": 1, "world_size": 1}
LossAccountingOff.bad = [
    case(
        "loss and gradient four times",
        facts={
            "accounting.loss_ratio": 4.0,
            "accounting.grad_ratio": 4.0,
            "accounting.loss_terms": _FOUR,
            "accounting.grad_terms": _FOUR,
        },
    ),
    case("only the gradient", facts={"accounting.loss_ratio": 1.0, "accounting.grad_ratio": 2.0}),
]
LossAccountingOff.good = [
    case("rounding", facts={"accounting.loss_ratio": 1.0004, "accounting.grad_ratio": 0.9993}),
    case(
        "batches weighed by their means",
        facts={"accounting.loss_ratio": 1.08, "accounting.loss_terms": {"mean of micro-batch means": 1}},
    ),
]
LossAccountingOff.not_enough = [case("nothing was recomputed", facts={"first_loss": 5.6})]
