"""NUM010 update-below-weight-spacing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import Known, brain_weights, is_on, known, written
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Severity
from holter.run import Run, Value
from holter.stages import Stage

BF16_RELATIVE_SPACING = 2.0**-8
"""Half the gap between neighbouring bf16 numbers, relative to the number: 8 bits of significand. A smaller change is
rounded away."""

TYPICAL_WEIGHT = 0.01
"""Absolute size of an ordinary weight of a transformer (initialiser range 0.02); most are of this order."""

SAFE_RATE = BF16_RELATIVE_SPACING * TYPICAL_WEIGHT
"""AdamW moves each weight by about the learning rate: 3.9e-5 is where updates of typical weights begin to vanish."""

LOST_RATE = SAFE_RATE / 4
"""Below a quarter of it even weights a quarter as large stay put, which is nearly all of the matrix."""

MASTER = re.compile(r"master|anyprecision|kahan|stochastic|fusedadam|distributed", re.IGNORECASE)
"""Words for optimizers that keep fp32 copies or round without bias."""


class UpdateBelowWeightSpacing(Check):
    """The weights are bf16 and the learning rate is so small that updates are rounded away.

    What it looks for: weights held in bf16 (not bf16 autocast over fp32 weights), an optimizer whose step is about as
    large as the learning rate, a rate below the spacing of typical bf16 weights, and no fp32 master weights.

    Why it hurts: an update smaller than half the gap to the next bf16 number changes nothing. The loss falls far more
    slowly than in fp32, or not at all, and nothing in the log says why.

    How to fix it: keep the trainable weights in fp32 under bf16 autocast, or use an optimizer with fp32 master weights
    or stochastic rounding.

    When to ignore it: with adapters, which start at zero and are usually kept in fp32, and with master weights.

    Threshold: `LOST_RATE`, from the spacing of bf16 and the typical size of a weight.

    Sources: bf16 has 8 significant bits; AdamW's step is bounded by the rate (Kingma and Ba 2015, section 2.1);
    torchtune issue 2254 for a run that showed it.
    """

    code = "NUM010"
    name = "update-below-weight-spacing"
    title = "Updates are smaller than the spacing of bf16 weights"
    severity = Severity.WARNING
    stage = Stage.UPDATE
    factor = "torch_dtype"
    needs = Needs(any_of=(("learning_rate",), ("variants",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        evidence = _in_settings(run) or _in_variants(run)
        if evidence is None:
            return
        worse = _worse_than_fp32(run)
        why = "bf16 has 8 significant bits, and a step of AdamW is about as large as the rate"
        yield self.finding(
            f"With bf16 weights an update of {evidence[-1].value:g} is below the gap between neighbouring numbers",
            evidence=[*evidence, *worse],
            clues=clues(why, low_precision_weight_update=5.0 + len(worse), low_precision_weights=0.5, lr_too_low=1.0),
        )

    bad = [
        case("full bf16", config={"torch_dtype": "bf16", "learning_rate": 6e-7, "optim": "AdamW"}),
        case("native", config={"precision": "bf16, native", "learning_rate": 6e-6}),
        case("one of two runs", variants=[{"torch_dtype": "bfloat16", "learning_rate": 6e-6, "optim": "AdamW"}]),
    ]
    good = [
        case("autocast over fp32", config={"bf16": True, "learning_rate": 6e-7}),
        case("an ordinary rate", config={"torch_dtype": "bfloat16", "learning_rate": 2e-5}),
        case("adapters", config={"torch_dtype": "bfloat16", "learning_rate": 5e-6, "adapters": "lora"}),
        case("master weights", config={"torch_dtype": "bf16", "learning_rate": 1e-6, "master_weights": True}),
    ]
    not_enough = [case("no rate", config={"torch_dtype": "bf16"})]


def _in_settings(run: Run) -> list[Evidence] | None:
    rate, dtype = known(run, "learning_rate"), brain_weights(run)
    if rate is None or dtype is None or _is_safe(run):
        return None
    value = number(rate.plain)
    if value is None or not 0.0 < value <= LOST_RATE:
        return None
    return [dtype.evidence, Evidence(text=rate.evidence.text, source=rate.value.source, value=value)]


def _is_safe(run: Run) -> bool:
    """Adapters, fp32 master weights, sharded engines that keep them, or an optimizer that rounds without bias."""
    from holter.checks.look import adapters_on

    if adapters_on(run) is not None or known(run, "deepspeed") or known(run, "deepspeed_stage"):
        return True
    master: Known | None = known(run, "master_weights") or known(run, "use_master_weights")
    if master is not None and is_on(master.plain):
        return True
    optim = known(run, "optim")
    return optim is not None and (bool(MASTER.search(written(optim.plain))) or "sgd" in written(optim.plain).lower())


def _in_variants(run: Run) -> list[Evidence] | None:
    for row in run.variants:
        dtype, rate, optim = row.get("torch_dtype") or row.get("precision"), row.get("learning_rate"), row.get("optim")
        value = number(rate.value) if rate is not None else None
        if dtype is None or rate is None or value is None or not 0.0 < value <= LOST_RATE:
            continue
        if not _is_brain(dtype) or "master_weights" in row or (optim is not None and MASTER.search(str(optim.value))):
            continue
        first = Evidence(text=f"weights are {dtype.value}", source=dtype.source, value=dtype.value)
        return [first, Evidence(text=f"learning_rate is {value:g}", source=rate.source, value=value)]
    return None


def _is_brain(dtype: Value) -> bool:
    return str(dtype.value).lower().removeprefix("torch.") in ("bf16", "bfloat16", "bf16, full", "bf16-true")


def _worse_than_fp32(run: Run) -> list[Evidence]:
    """A variant in fp32 or with master weights that a person lists beside it: the comparison was made."""
    for row in run.variants:
        dtype = row.get("torch_dtype") or row.get("precision")
        if "master_weights" in row or (dtype is not None and str(dtype.value).lower() in ("fp32", "float32")):
            place = next(iter(row.values()))
            listed = ", ".join(f"{name} {value.value}" for name, value in sorted(row.items()))
            return [Evidence(text=f"another run of the table: {listed}", source=place.source)]
    return []
