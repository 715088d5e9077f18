"""MOD106 checkpoint-weights-missing."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, plain
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

HEADS = ("score", "classifier", "qa_outputs", "cls", "classification_head", "pooler", "lm_head")
"""Parts that are new by design when a model gets another head."""


class CheckpointWeightsMissing(Check):
    """Weights of the model are not in the checkpoint.

    What it looks for: names of tensors that the model has and the checkpoint folder lacks, the task head aside, and
    the other way round.

    Why it hurts: they keep random values while the loss may still fall.

    How to fix it: load the class that the checkpoint was saved from, or mend the prefix of its names.

    When to ignore it: for parts that are new on purpose.

    Threshold: one tensor beyond the head.

    Sources: safetensors header of the folder the model was loaded from.
    """

    code = "MOD106"
    name = "checkpoint-weights-missing"
    title = "Weights of the model are not in the checkpoint"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(facts=("loading.missing", "loading.unexpected"))

    bad = (
        case(
            "a layer is missing",
            facts={"loading.missing": ["model.layers.0.mlp.up_proj.weight"], "loading.unexpected": []},
        ),
    )
    good = (
        case(
            "only the new head", facts={"loading.missing": ["score.weight"], "loading.unexpected": ["lm_head.weight"]}
        ),
        case("all there", facts={"loading.missing": [], "loading.unexpected": []}),
    )
    not_enough = (case("built from a configuration", facts={"logits.std": 1.0}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        missing = [n for n in plain(run, "loading.missing") or [] if not any(h in n.split(".") for h in HEADS)]
        if not missing:
            return
        yield self.finding(
            f"{len(missing)} tensors of the model are not in the checkpoint, such as {missing[0]}",
            evidence=[evidence(run, "loading.missing"), evidence(run, "loading.unexpected")],
            clues=[Clue(cause="weights-loaded-wrong", bits=7.0, why="the names were compared")],
            step=0,
            basis=Basis.MEASURED,
        )
