"""The change to make now, in this user's files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holter.checks.look import is_on, written
from holter.diagnosis.causes import CAUSES
from holter.diagnosis.weigh import Score
from holter.finding import Change, Fix
from holter.run import Authority, Expression, Run, Value

BF16_DEVICES = ("a100", "a10", "a30", "a40", "a6000", "l4", "l40", "h100", "h200", "h800", "a800", "b200", "gh200")
BF16_SERIES = ("rtx 30", "rtx 40", "rtx 50", "rtx30", "rtx40", "rtx50", "3090", "4090", "5090", "ada", "ampere")
"""Cards with bf16 arithmetic: NVIDIA compute capability 8.0 and above (CUDA programming guide, table of features)."""

Edits = Callable[[Run], list[Change]]


def remedy(score: Score, run: Run) -> Fix:
    """The fix a check calls for, else the cause's own with edits of this run's settings."""
    asked = [w.finding.fix for w in score.supporting if w.finding.fix is not None]
    edits = EDITS.get(score.cause)
    changes = tuple(edits(run)) if edits else ()
    if asked and asked[0].changes and not (changes and edits is _leave_fp16):
        return asked[0]
    summary = asked[0].summary if asked and not changes else CAUSES[score.cause].fix
    return Fix(summary=summary, changes=changes)


def change(name: str, value: Value | None, new: Any) -> Change:
    """An edit of a setting where it stands; without a file where only a person or the command line said it."""
    if value is None:
        return Change(key=name, new=new)
    plain = written(value.value) if isinstance(value.value, Expression) else value.value
    in_file = value.authority not in (Authority.DEFAULT, Authority.FACT, Authority.SET)
    return Change(key=name, old=plain, new=new, file=value.source.file if in_file else None)


def _on(run: Run, name: str) -> list[Value]:
    return [value for value in run.config.get(name, ()) if is_on(value.value) and not value.is_default]


def _leave_fp16(run: Run) -> list[Change]:
    has_bf16 = any(_is_bf16_card(written(v.value)) for v in run.config.get("devices", ()))
    words = [(name, value) for name in ("mixed_precision", "precision") for value in run.config.get(name, ())]
    places = [_place(value) for _, value in words]
    switches = [v for v in _on(run, "fp16") if v.authority is not Authority.FACT and _place(v) not in places]
    changes = [change("fp16", value, False) for value in switches]
    for name, value in words:
        word = written(value.value).lower()
        if "16" in word and "bf" not in word and value.authority is not Authority.FACT:
            changes.append(change(name, value, "bf16" if has_bf16 else "no" if name == "mixed_precision" else "fp32"))
    if has_bf16 and switches and not run.get("bf16"):
        changes.append(Change(key="bf16", new=True, file=changes[0].file))
    return changes


def _place(value: Value) -> tuple[str, int | None, int | None]:
    """Where it stands; one word such as ``mixed_precision: fp16`` is also read as the switch ``fp16``."""
    return value.source.file, value.source.line, value.source.cell


def _is_bf16_card(text: str) -> bool:
    words = text.lower().replace("-", " ")
    return any(name in words.split() for name in BF16_DEVICES) or any(name in words for name in BF16_SERIES)


def _to(name: str, new: Any) -> Edits:
    def edits(run: Run) -> list[Change]:
        return [change(name, run.setting(name), new)]

    return edits


def _scaled(name: str, factor: float) -> Edits:
    def edits(run: Run) -> list[Change]:
        value = run.setting(name)
        if value is None or isinstance(value.value, bool) or not isinstance(value.value, (int, float)):
            return []
        return [change(name, value, float(f"{value.value * factor:.3g}"))]

    return edits


def _own_loss(run: Run) -> list[Change]:
    return [Change(key="trainer.model_accepts_loss_kwargs", new=False)]


def _warmup_ratio(run: Run) -> list[Change]:
    steps = run.setting("warmup_steps")
    edits = [change("warmup_ratio", run.setting("warmup_ratio"), 0.06)]
    return edits if steps is None or not steps.value else [change("warmup_steps", steps, 0), *edits]


EDITS: dict[str, Edits] = {
    "fp16-overflow": _leave_fp16,
    "loss-scale-exhausted": _leave_fp16,
    "fp16-weights-with-amp": _to("torch_dtype", "float32"),
    "low-precision-weights": _to("torch_dtype", "float32"),
    "low-precision-weight-update": _to("torch_dtype", "float32"),
    "optimizer-eps-underflow": _to("adam_epsilon", 1e-4),
    "eval-only-nan": _to("fp16_full_eval", False),
    "nan-filter-hides-nan": _to("logging_nan_inf_filter", False),
    "ctc-target-too-long": _to("ctc_zero_infinity", True),
    "attention-kernel-bug": _to("attn_implementation", "eager"),
    "grad-accum-loss-scale": _own_loss,
    "grad-clip-disabled": _to("max_grad_norm", 1.0),
    "lr-too-high": _scaled("learning_rate", 0.2),
    "lr-too-low": _scaled("learning_rate", 5.0),
    "warmup-missing": _warmup_ratio,
    "warmup-too-long": _warmup_ratio,
    "overfitting": _to("load_best_model_at_end", True),
    "padding-side": _to("padding_side", "right"),
}
"""Cause -> edits of this run's settings; causes that need a person's judgement have none."""
