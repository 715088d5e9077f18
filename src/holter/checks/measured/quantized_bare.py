"""MOD108 quantised-base-bare."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, plain
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage


class QuantisedBaseBare(Check):
    """A quantised model is trained without adapters.

    What it looks for: quantised weights and no module that carries an adapter.

    Why it hurts: integer weights take no gradient: only norms and heads would train, or nothing.

    How to fix it: attach adapters with get_peft_model after prepare_model_for_kbit_training, or load without
    quantisation.

    When to ignore it: when only a new head is meant to train.

    Threshold: none.

    Sources: transformers, Trainer: training of purely quantised models.
    """

    code = "MOD108"
    name = "quantised-base-bare"
    title = "A quantised model is trained without adapters"
    severity = Severity.ERROR
    stage = Stage.UPDATE
    needs = Needs(facts=("model.quantized", "trainable.parameters"))

    bad = (case("bare", facts={"model.quantized": True, "trainable.parameters": 8192}),)
    good = (
        case("with adapters", facts={"model.quantized": True, "trainable.parameters": 8192, "adapter.modules": 56}),
        case("not quantised", facts={"model.quantized": False, "trainable.parameters": 8192}),
    )
    not_enough = (case("not looked at", facts={"trainable.parameters": 9}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        if plain(run, "model.quantized") is not True or plain(run, "adapter.modules"):
            return
        yield self.finding(
            "the weights are quantised and no module carries an adapter",
            evidence=[evidence(run, "model.quantized"), evidence(run, "trainable.parameters")],
            clues=[Clue(cause="quantized-without-adapter", bits=8.0, why="the modules were listed")],
            basis=Basis.MEASURED,
        )
