"""The same row must give the same result alone, in its batch, and padded further, on either side.

And the attention kernel in use must agree with the plain computation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holter.probes.base import Lacks, Notebook
from holter.probes.labels import IGNORE_INDEX
from holter.probes.subject import Subject

EXTRA = 8
"""Positions of padding that are added: the multiple that collators pad to for tensor cores."""


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``invariance.*``: largest relative change of a row's result, 0 where it stays the same."""
    import torch

    batch = next((b for b in notebook.batches if "input_ids" in b and "attention_mask" in b), None)
    pad = getattr(getattr(subject.core, "config", None), "pad_token_id", None)
    if batch is None or pad is None:
        raise Lacks("no batch with input_ids and attention_mask, or no pad id")
    subject.model.eval()
    device = next(subject.model.parameters()).device
    inputs = {k: v.to(device) for k, v in batch.items() if k in ("input_ids", "attention_mask", "labels")}
    with torch.no_grad():
        whole = _result(subject.model, inputs)
        alone = [_result(subject.model, _row(inputs, i)) for i in range(min(2, len(inputs["input_ids"])))]
        notebook.fact("invariance.single_against_batch", max(_apart(a, whole[i : i + 1]) for i, a in enumerate(alone)))
        for side in ("right", "left"):
            padded = _padded(inputs, side, pad, bool(subject.core.config.is_encoder_decoder))
            notebook.fact(f"invariance.padding_{side}", _apart(_result(subject.model, padded), whole))
        _kernel(subject, inputs, whole, notebook)


def _result(model: Any, inputs: Mapping[str, Any]) -> Any:
    """One number a row that summarises its result: pooled logits, or the mean over its real positions."""
    import torch

    logits = model(**inputs).logits.float()
    if logits.ndim == 2:
        return logits
    mask = inputs["labels"] != IGNORE_INDEX if inputs["labels"].shape == logits.shape[:2] else inputs["attention_mask"]
    weights = mask.to(torch.float32).unsqueeze(-1)
    return (logits * weights).sum(1) / weights.sum(1).clamp(min=1)


def _row(inputs: Mapping[str, Any], index: int) -> dict[str, Any]:
    """One row without its padding."""
    kept = inputs["attention_mask"][index].bool()
    found = {}
    for name, value in inputs.items():
        row = value[index : index + 1]
        same = value.ndim == 2 and value.shape == inputs["input_ids"].shape
        found[name] = row[:, kept] if same else row
    return found


def _padded(inputs: Mapping[str, Any], side: str, pad: int, is_encoder_decoder: bool) -> dict[str, Any]:
    import torch

    where = (EXTRA, 0) if side == "left" else (0, EXTRA)
    fills = {"input_ids": pad, "attention_mask": 0, "labels": IGNORE_INDEX}
    found = dict(inputs)
    for name, fill in fills.items():
        value = inputs.get(name)
        of_text = value is not None and value.ndim == 2 and not (name == "labels" and is_encoder_decoder)
        if of_text and value is not None:
            found[name] = torch.nn.functional.pad(value, where, value=fill)
    return found


def _apart(left: Any, right: Any) -> float:
    scale = right.abs().max().clamp(min=1e-6)
    return float(((left - right).abs().max() / scale).item())


def _kernel(subject: Subject, inputs: Mapping[str, Any], whole: Any, notebook: Notebook) -> None:
    core = subject.core
    used = getattr(core.config, "_attn_implementation", None)
    notebook.fact("model.attn_implementation", used)
    if used in (None, "eager") or not hasattr(core, "set_attn_implementation"):
        return
    try:
        core.set_attn_implementation("eager")
        notebook.fact("invariance.kernel_against_eager", _apart(_result(subject.model, inputs), whole))
    finally:
        core.set_attn_implementation(used)
