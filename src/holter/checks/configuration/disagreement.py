"""CFG001 sources-disagree."""

from __future__ import annotations

from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import is_on, written
from holter.checks.symptoms import broken
from holter.finding import Clue, Evidence, Finding, Severity
from holter.run import Authority, Run, Value
from holter.stages import Stage

TELLING = frozenset(
    {
        "fp16",
        "bf16",
        "torch_dtype",
        "mixed_precision",
        "learning_rate",
        "max_grad_norm",
        "gradient_accumulation_steps",
        "per_device_train_batch_size",
        "warmup_steps",
        "warmup_ratio",
        "max_length",
        "num_labels",
        "vocab_size",
        "pad_token_id",
        "eos_token_id",
        "load_in_8bit",
        "load_in_4bit",
        "world_size",
        "target_modules",
        "modules_to_save",
        "padding_side",
        "gradient_checkpointing",
        "optim",
        "weight_decay",
        "num_train_epochs",
        "chat_template",
    }
)
"""Settings that change what is learnt; two output folders or seeds are no disagreement."""

MOST_VALUES = 4
"""A setting with more distinct values than this is a sweep or a list of runs, not a disagreement."""


class SourcesDisagree(Check):
    """What it looks for
        One setting with different values in two sources: a script and the notebook that ran, arguments and a
        DeepSpeed file, base and local configuration.

    Why it hurts
        The one that was read is not the one that acted. Many a hunt for a fault looked at the wrong file.

    How to fix it
        Keep one place for the setting. The value believed here is the one closest to what ran.

    When to ignore it
        When the files are of different runs.

    Threshold
        None. It is a note, and a warning when the run shows a loss that cannot be right.

    Sources
        A post-mortem in which the script had fp16 off and the notebook that ran had it on.
    """

    code = "CFG001"
    name = "sources-disagree"
    title = "Two sources give different values"
    severity = Severity.NOTE
    stage = Stage.DATA
    needs = Needs(any_of=tuple((name,) for name in sorted(TELLING)))
    bad = (
        case(
            "script against notebook",
            files={
                "train.py": "args = TrainingArguments(output_dir='o', fp16=False, learning_rate=1e-4)\n",
                "config.yaml": "fp16: true\nlearning_rate: 1.0e-4\n",
            },
        ),
    )
    good = (
        case("one source", config={"fp16": True}),
        case(
            "same in both",
            files={
                "a.yaml": "learning_rate: 1.0e-4\n",
                "train.py": "args = TrainingArguments('o', learning_rate=1e-4)\n",
            },
        ),
    )
    not_enough = (case("no setting"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """One finding a setting."""
        symptom = broken(run)
        for name, spelt in run.conflicts():
            values = [value for value in spelt if value.value is not None]
            if name not in TELLING or not 1 < len(values) <= MOST_VALUES or _same_place(values):
                continue
            shown = [Evidence(text=f"{name} is {written(v.value)}", source=v.source, value=v.value) for v in values]
            given = " and ".join(written(v.value) for v in values)
            yield self.finding(
                f"{name} is given as {given}; {written(values[0].value)} is believed",
                evidence=shown,
                clues=_clues(name, values) if symptom is not None else (),
                severity=Severity.NOTE
                if symptom is None or values[1].authority <= Authority.PROSE
                else Severity.WARNING,
            )


def _same_place(values: list[Value]) -> bool:
    """Two values at one place are alternatives somebody listed."""
    return len({(v.source.file, v.source.line, v.source.cell) for v in values}) == 1


def _clues(name: str, values: list[Value]) -> Iterable[Clue]:
    if name == "fp16" and any(is_on(v.value) for v in values):
        yield from clues("one source switches fp16 on", fp16_overflow=1)
