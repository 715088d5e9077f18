"""The causes a reader would think of, so that a diagnosis can say why it is not one of them.

Not all labels: those whose setting is written in the run, and those that the symptom makes popular.
"""

from __future__ import annotations

from holter.checks.look import adapters_off, is_off
from holter.finding import Finding
from holter.run import Run
from holter.stages import Stage

BY_SETTING: dict[str, tuple[str, ...]] = {
    "warmup-missing": ("warmup_ratio", "warmup_steps"),
    "lr-too-high": ("learning_rate",),
    "grad-clip-disabled": ("max_grad_norm",),
    "grad-clip-too-strict": ("max_grad_norm",),
    "adapter-layers": ("adapters", "layers_to_transform", "target_modules", "r"),
    "padding-multiple": ("pad_to_multiple_of",),
    "fp16-overflow": ("fp16",),
    "quantized-precision-mismatch": ("load_in_8bit", "load_in_4bit"),
    "pad-token-missing": ("pad_token_id", "tokenizer.pad_token"),
    "ddp-no-gradient-sync": ("world_size",),
}
"""Cause -> settings that make a reader think of it."""

WRONG_FIRST_LOSS = (
    *("warmup-missing", "lr-too-high", "grad-clip-too-strict", "adapter-layers", "padding-multiple"),
    "pad-token-missing",
)
"""What the post-mortems of wrong first losses blamed before measuring."""

NOT_FINITE = ("fp16-overflow", "lr-too-high", "lr-zero", "warmup-missing")
"""What is blamed first for nan and 0.0."""


def suspects(run: Run, symptom: Finding | None) -> set[str]:
    """Labels that deserve a word even if nothing speaks for them."""
    written = {
        label
        for label, names in BY_SETTING.items()
        if any(name in run.config and not is_off(run.get(name)) for name in names)
    }
    if symptom is not None and symptom.step == 0 and symptom.stage <= Stage.BACKWARD:
        written.update(WRONG_FIRST_LOSS)
        written.update(NOT_FINITE)
    return written - {"adapter-layers"} if adapters_off(run) is not None else written
