"""MOD107 adapter-targets-missed."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, plain
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

ASKED = {"adapter.unmatched_targets": "target_modules", "adapter.layers_unmatched": "layers_to_transform"}


class AdapterTargetsMissed(Check):
    """Adapter targets or layers are no part of the model.

    What it looks for: names in target_modules that are the end of no module with an adapter, and numbers in
    layers_to_transform of layers that carry none.

    Why it hurts: PEFT adapts what matches and says nothing about the rest: that part of the model does not
    train. A negative number counts from nowhere.

    How to fix it: take the names from model.named_modules(), or target_modules="all-linear"; count layers from
    0.

    When to ignore it: when a target is meant for another model of the same configuration.

    Threshold: one name or number.

    Sources: PEFT, check_target_module_exists; `holter.probes.adapters`.
    """

    code = "MOD107"
    name = "adapter-targets-missed"
    title = "Adapter targets or layers are no part of the model"
    severity = Severity.ERROR
    stage = Stage.FORWARD
    needs = Needs(any_of=(("adapter.unmatched_targets",), ("adapter.layers_unmatched",)))

    bad = (
        case("a layer from the end", facts={"adapter.layers_unmatched": [-1], "adapter.layers": [0]}),
        case("a name", facts={"adapter.unmatched_targets": ["c_attn"], "adapter.modules": 8}),
    )
    good = (
        case("all there", facts={"adapter.unmatched_targets": [], "adapter.layers_unmatched": []}),
        case("all targets", facts={"adapter.unmatched_targets": []}),
    )
    not_enough = (case("no adapters", facts={"trainable.parameters": 9}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        for name, words in ASKED.items():
            missed = plain(run, name) or []
            if missed:
                yield self.finding(
                    f"{words} without an adapter: {', '.join(map(str, missed))}",
                    evidence=[evidence(run, name), evidence(run, "adapter.layers"), evidence(run, "adapter.modules")],
                    clues=[
                        Clue(cause="adapter-targets-unmatched", bits=8.0, why="the modules that carry one were listed")
                    ],
                    basis=Basis.MEASURED,
                )
