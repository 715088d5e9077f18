"""NUM102 attention-kernel-differs."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number, plain
from holter.finding import Basis, Change, Clue, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

ROUNDING = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.02}
"""Relative change of logits that another order of summation explains, by dtype of the weights."""


class AttentionKernelDiffers(Check):
    """The attention kernel disagrees with the plain computation.

    What it looks for: logits of the same batch with the attention kernel in use and with eager attention.

    Why it hurts: wrong attention gives wrong losses from the first step, on one card or version only.

    How to fix it: set attn_implementation to eager, or update torch and the kernel.

    When to ignore it: never.

    Threshold: `ROUNDING` of the dtype.

    Sources: `holter.probes.invariance`.
    """

    code = "NUM102"
    name = "attention-kernel-differs"
    title = "The attention kernel disagrees with the plain computation"
    severity = Severity.ERROR
    stage = Stage.FORWARD
    needs = Needs(facts=("invariance.kernel_against_eager",))

    bad = (case("a third off", facts={"invariance.kernel_against_eager": 0.3, "model.attn_implementation": "sdpa"}),)
    good = (
        case("rounding", facts={"invariance.kernel_against_eager": 3e-7}),
        case("bf16 rounding", facts={"invariance.kernel_against_eager": 0.02, "model.weight_dtypes": ["bfloat16"]}),
    )
    not_enough = (case("eager is used", facts={"model.attn_implementation": "eager"}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        gap = number(run, "invariance.kernel_against_eager")
        dtypes = plain(run, "model.weight_dtypes") or ["float32"]
        if gap is None or gap <= max(ROUNDING.get(dtype, ROUNDING["bfloat16"]) for dtype in dtypes):
            return
        kernel = plain(run, "model.attn_implementation")
        yield self.finding(
            f"logits with {kernel} attention differ from eager by {gap:.2g} of their size",
            evidence=[evidence(run, "invariance.kernel_against_eager"), evidence(run, "model.attn_implementation")],
            clues=[Clue(cause="attention-kernel-bug", bits=8.0, why="both were computed on the same batch")],
            step=0,
            fix=Fix(
                summary="use eager attention", changes=(Change(key="attn_implementation", old=kernel, new="eager"),)
            ),
            basis=Basis.MEASURED,
        )
