"""Shapes, padding and masks of the first batches, one decoded row, and the position that a head pools from."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from holter.probes.base import Lacks, Notebook
from holter.probes.rows import IGNORE_INDEX
from holter.probes.subject import Subject

LONGEST_TEXT = 300  # characters of a decoded row that a report quotes
MARKS = ("\u27ea", "\u27eb")  # double angle brackets, which occur in hardly any corpus


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``batch.*``: shapes, dtypes, share of padding, mask against padding, a row as text, pooled positions."""
    if not notebook.batches:
        raise Lacks("a batch")
    batch = notebook.batches[0]
    tensors = {name: value for name, value in batch.items() if hasattr(value, "shape")}
    notebook.fact("batch.shapes", {name: list(value.shape) for name, value in tensors.items()})
    notebook.fact("batch.dtypes", {name: str(value.dtype).removeprefix("torch.") for name, value in tensors.items()})
    ids, mask, pad = batch.get("input_ids"), batch.get("attention_mask"), _pad(subject)
    if ids is None:
        return
    if mask is not None and mask.shape == ids.shape:
        notebook.fact("batch.padding_share", float((mask == 0).float().mean()))
        needless = float((mask == 0).all(0).float().mean())
        notebook.fact("batch.needless_padding_share", needless)
        if bool((mask == 0).any()):
            notebook.fact("batch.padding_side", "left" if bool((mask[:, 0] == 0).any()) else "right")
        if pad is not None:
            covered = (mask == 0) & (ids != pad)
            open_pads = (mask == 1) & (ids == pad)
            notebook.fact("batch.masked_tokens", int(covered.sum()))
            notebook.fact("batch.unmasked_padding", int(open_pads.sum()) if pad != _eos(subject) else 0)
        _pooled(subject, ids, mask, notebook)
    elif pad is not None:
        notebook.fact("batch.padding_share", float((ids == pad).float().mean()))
        notebook.fact("batch.mask_missing", bool((ids == pad).any()))
    _text(subject, batch, notebook)


def _pad(subject: Subject) -> Any:
    own = getattr(subject.tokenizer, "pad_token_id", None)
    return own if own is not None else getattr(getattr(subject.core, "config", None), "pad_token_id", None)


def _eos(subject: Subject) -> Any:
    return getattr(subject.tokenizer, "eos_token_id", None)


def _pooled(subject: Subject, ids: Any, mask: Any, notebook: Notebook) -> None:
    """Where a decoder's classification head reads: the last token that is not the model's pad id."""
    core = subject.core
    pools_last = hasattr(core, "score") and getattr(core.config, "pad_token_id", None) is not None
    if not pools_last:
        return
    import torch

    positions = torch.arange(ids.shape[1])
    by_model = ((ids != core.config.pad_token_id).long() * positions).argmax(-1)
    by_mask = (mask.long() * (positions + 1)).argmax(-1)
    notebook.fact("batch.rows_pooled_from_padding", int((by_model != by_mask).sum()))


def _text(subject: Subject, batch: dict[str, Any], notebook: Notebook) -> None:
    """One row decoded, with the supervised part between `MARKS` where labels are per token."""
    if subject.tokenizer is None:
        return
    kept = _kept(batch)
    ids, labels = batch["input_ids"][0][kept].tolist(), batch.get("labels")
    decode = subject.tokenizer.decode
    if labels is None or labels.ndim != 2:
        target = "" if labels is None else f" -> label {labels[0].tolist()}"
        notebook.fact("batch.row", f"{decode(ids)[:LONGEST_TEXT]}{target}")
        return
    of_source = bool(getattr(getattr(subject.core, "config", None), "is_encoder_decoder", False))
    same = labels.shape == batch["input_ids"].shape and not of_source
    supervised = labels[0][kept].tolist() if same else labels[0].tolist()
    if not same:
        target = decode([label for label in supervised if label != IGNORE_INDEX])
        notebook.fact("batch.row", f"{decode(ids)[:LONGEST_TEXT]} -> {_marked(target[:LONGEST_TEXT])}")
        return
    parts = []
    for counted, group in groupby(zip(ids, supervised, strict=True), key=lambda pair: pair[1] != IGNORE_INDEX):
        text = decode([token for token, _ in group])
        parts.append(_marked(text[: LONGEST_TEXT // 2]) if counted else text[-LONGEST_TEXT // 2 :])
    notebook.fact("batch.row", "".join(parts)[: 2 * LONGEST_TEXT])


def _marked(text: str) -> str:
    return f"{MARKS[0]}{text}{MARKS[1]}"


def _kept(batch: dict[str, Any]) -> Any:
    """Which positions of the first row are no padding."""
    ids, mask = batch["input_ids"][0], batch.get("attention_mask")
    return (ids == ids) if mask is None or mask.shape != batch["input_ids"].shape else mask[0].bool()
