"""TOK104 result-depends-on-padding."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number, plain
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

ROUNDING = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.02}
"""Relative change of logits that summation in another order explains: about 2^4 units in the last place of each format,
rounded up (fp32 2e-6 measured on the recipes)."""

PATHS = {
    "invariance.single_against_batch": "alone instead of in its batch",
    "invariance.padding_right": "padded further on the right",
}


class ResultDependsOnPadding(Check):
    """The result of a row depends on padding or on its neighbours.

    What it looks for: the logits of a row alone, in its batch, and with more padding on the side that the tokenizer
    uses.

    Why it hurts: scores then depend on the batch a row happens to be in, in training and in use.

    How to fix it: pass the attention mask, pad on the side the architecture supports, and set the pad id of the
    model.

    When to ignore it: for models with batch statistics, which depend on the batch by design.

    Threshold: `ROUNDING` of the dtype of the weights.

    Sources: `holter.probes.invariance`.
    """

    code = "TOK104"
    name = "result-depends-on-padding"
    title = "The result of a row depends on padding or on its neighbours"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(facts=("invariance.single_against_batch", "invariance.padding_right"))

    bad = (
        case("padding is attended to", facts={"invariance.single_against_batch": 0.4, "invariance.padding_right": 0.6}),
    )
    good = (
        case("rounding", facts={"invariance.single_against_batch": 5e-7, "invariance.padding_right": 6e-7}),
        case(
            "the side that is not used",
            facts={
                "invariance.single_against_batch": 0.0,
                "invariance.padding_right": 0.5,
                "tokenizer.padding_side": "left",
                "invariance.padding_left": 1e-6,
            },
        ),
    )
    not_enough = (case("not measured", facts={"logits.std": 1.0}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        dtypes = plain(run, "model.weight_dtypes") or ["float32"]
        allowed = max(ROUNDING.get(dtype, ROUNDING["bfloat16"]) for dtype in dtypes)
        side = "left" if plain(run, "tokenizer.padding_side") == "left" else "right"
        paths = {**PATHS, f"invariance.padding_{side}": f"padded further on the {side}"}
        if side == "left":
            del paths["invariance.padding_right"]
        off = {name: value for name in paths if (value := number(run, name)) is not None and not value <= allowed}
        if not off:
            return
        worst = max(off, key=lambda name: off[name])
        yield self.finding(
            f"the logits of a row change by {off[worst]:.2g} of their size when it is {paths[worst]}",
            evidence=[evidence(run, name) for name in off],
            clues=[
                Clue(cause="attention-mask-missing", bits=3.0, why="padding reaches the result"),
                Clue(cause="padding-side", bits=3.0, why="padding reaches the result"),
                Clue(cause="pad-token-wrong", bits=2.0, why="padding reaches the result"),
            ],
            step=0,
            basis=Basis.MEASURED,
        )
