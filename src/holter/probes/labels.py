"""Labels of the first batches: ids, the share that is ignored, rows with none left."""

from __future__ import annotations

from typing import Any

from holter.probes.base import Lacks, Notebook
from holter.probes.rows import IGNORE_INDEX
from holter.probes.subject import Subject


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``batch.labels.*``: dtype, smallest and largest counted id, share ignored, rows with nothing supervised."""
    import torch

    found = [batch["labels"] for batch in notebook.batches if isinstance(batch.get("labels"), torch.Tensor)]
    if not found:
        raise Lacks("a batch with labels")
    notebook.fact("batch.labels.dtype", str(found[0].dtype).removeprefix("torch."))
    if found[0].is_floating_point():
        return
    counted = torch.cat([labels[labels != IGNORE_INDEX].flatten() for labels in found])
    total = sum(labels.numel() for labels in found)
    notebook.fact("batch.labels.ignored_share", 1 - counted.numel() / total)
    if counted.numel():
        notebook.fact("batch.labels.min", int(counted.min()))
        notebook.fact("batch.labels.max", int(counted.max()))
    rows = [(labels.reshape(len(labels), -1) != IGNORE_INDEX).sum(1) for labels in found]
    notebook.fact("batch.labels.rows", int(sum(len(r) for r in rows)))
    notebook.fact("batch.labels.rows_without", int(sum((r == 0).sum() for r in rows)))
    if found[0].ndim == 2:
        notebook.fact("batch.labels.counted", counted.numel())
        notebook.fact("batch.labels.padding_counted", sum(_padding(subject, batch) for batch in notebook.batches))
        _ends(subject, found, notebook)
    outputs = getattr(getattr(subject.core, "config", None), "num_labels", None)
    if found[0].ndim == 1 and outputs:
        notebook.fact("batch.labels.outputs", int(outputs))


def _padding(subject: Subject, batch: dict[str, Any]) -> int:
    """Counted labels that are padding: at masked positions, or the run of pad ids that ends a target of its own length.

    One pad id at the end of a target is left out where pad and eos share an id: it is the end token.
    """
    labels, mask = batch["labels"], batch.get("attention_mask")
    config = getattr(subject.core, "config", None)
    pad, of_source = getattr(config, "pad_token_id", None), bool(getattr(config, "is_encoder_decoder", False))
    if mask is not None and mask.shape == labels.shape and not of_source:
        return int(((mask == 0) & (labels != IGNORE_INDEX)).sum())
    if pad is None:
        return 0
    trailing = (labels == pad).flip(1).long().cumprod(1).sum(1)
    shared = pad == getattr(subject.tokenizer, "eos_token_id", None)
    return int((trailing - int(shared)).clamp(min=0).sum())


def _ends(subject: Subject, found: list[Any], notebook: Notebook) -> None:
    """Rows in which the end token is among the counted labels: without it nobody learns to stop."""
    eos = getattr(subject.tokenizer, "eos_token_id", None)
    generates = getattr(subject.core, "can_generate", None)
    if not isinstance(eos, int) or generates is None or not generates():
        return
    notebook.fact("batch.labels.rows_with_end", int(sum((labels == eos).any(1).sum() for labels in found)))
    inputs = [batch.get("input_ids") for batch in notebook.batches]
    same = [ids for ids, labels in zip(inputs, found, strict=False) if ids is not None and ids.shape == labels.shape]
    if same and not getattr(getattr(subject.core, "config", None), "is_encoder_decoder", False):
        notebook.fact("batch.rows_with_end", int(sum((ids == eos).any(1).sum() for ids in same)))
