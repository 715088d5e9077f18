"""The true loss of a batch from logits and labels, in fp32, independent of the library's loss code.

Shapes: B rows, T positions, V vocabulary entries, C classes.

What "true" means for each head, always over the whole optimizer step (all micro-batches of all processes):

* causal LM: sum of -log p(label_t | logits_(t-1)) over the positions 1..T-1 whose label is not -100, divided by the
  number of those positions. Position 0 has no prediction and is not counted.
* sequence-to-sequence LM, masked LM, token classification: the same without the shift; every label that is not -100
  counts.
* sequence classification: mean over rows of cross entropy (single label), of the squared error (regression), or of
  the binary cross entropy averaged over classes (multi label).
* question answering: mean over rows of the average of the cross entropies of start and end.
* with ``label_smoothing_factor`` e: (1 - e) times the above plus e times the mean over classes of -log p, for the
  same targets.
* where a model adds a router's balance loss, its coefficient times that loss is part of the true loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

IGNORED = -100  # ignore_index of every loss in transformers
SHIFTED = "causal-lm"


@dataclass(kw_only=True)
class BatchLoss:
    """Loss of one batch, as a sum still attached to the graph.

    Attributes:
        total: 0-dim fp32, sum over counted targets.
        count: number of counted targets.
        auxiliary: 0-dim fp32 term the model adds once a batch, or None.
    """

    total: Tensor
    count: int
    auxiliary: Tensor | None = None


def unwrapped(model: nn.Module) -> nn.Module:
    """The model below DDP, DeepSpeed, ``torch.compile`` and PEFT, whose class names the head."""
    seen = model
    while True:
        below: Any = getattr(seen, "module", None) or getattr(seen, "_orig_mod", None)
        if below is None and hasattr(seen, "get_base_model") and hasattr(seen, "peft_config"):
            get_base_model: Any = seen.get_base_model
            below = get_base_model()
        if below is None or not hasattr(below, "forward"):
            return seen
        seen = below


def head_of(model: nn.Module) -> str:
    """The kind of head by class name and configuration; ``model`` where only the model's own loss is known."""
    inner = unwrapped(model)
    name = type(inner).__name__
    seq2seq = bool(getattr(getattr(inner, "config", None), "is_encoder_decoder", False))
    endings = {
        "ForSequenceClassification": "sequence-classification",
        "ForImageClassification": "sequence-classification",
        "ForTokenClassification": "token-classification",
        "ForMaskedLM": "masked-lm",
        "ForQuestionAnswering": "question-answering",
        "ForCausalLM": SHIFTED,
        "LMHeadModel": SHIFTED,
        "ForConditionalGeneration": "seq2seq-lm" if seq2seq else SHIFTED,
    }
    return next((kind for ending, kind in endings.items() if name.endswith(ending)), "model")


def batch_loss(head: str, outputs: Any, inputs: Mapping[str, Any], config: Any, *, smoothing: float) -> BatchLoss:
    """The summed loss and the number of targets of one batch.

    Args:
        head: as `head_of` gives it, not ``model`` or ``custom``.
        outputs: of the model's forward pass; ``logits`` is (B, T, V), (B, T, C) or (B, C).
        inputs: the batch with its ``labels``: (B, T), (B,) or (B, C).
        config: of the model.
        smoothing: ``label_smoothing_factor``.
    """
    auxiliary = _auxiliary(outputs, config)
    if head == "question-answering":
        return _spans(outputs, inputs, auxiliary)
    logits, labels = _field(outputs, "logits", 0).float(), inputs["labels"]
    if head == "sequence-classification":
        return _rows(logits, labels, config, auxiliary, smoothing)
    if head == SHIFTED:
        if "shift_labels" in inputs:
            labels = inputs["shift_labels"]
        else:
            logits, labels = logits[..., :-1, :], labels[..., 1:]
    total, count = _cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), smoothing)
    return BatchLoss(total=total, count=count, auxiliary=auxiliary)


def count_targets(head: str, inputs: Mapping[str, Any]) -> int:
    """Number of counted targets of one batch, without a forward pass."""
    labels = inputs.get("labels")
    if labels is None or head in ("sequence-classification", "question-answering", "model", "custom"):
        return _batch_size(inputs)
    if head == SHIFTED:
        labels = inputs["shift_labels"] if "shift_labels" in inputs else labels[..., 1:]
    return int((labels != IGNORED).sum())


def count_labels(head: str, inputs: Mapping[str, Any], count: int) -> int:
    """Number of labels of one batch where those without a prediction are counted too; ``count`` for unshifted heads."""
    if head != SHIFTED or "labels" not in inputs or "shift_labels" in inputs:
        return count
    return int((inputs["labels"] != IGNORED).sum())


def _batch_size(inputs: Mapping[str, Any]) -> int:
    return next((int(v.shape[0]) for v in inputs.values() if hasattr(v, "shape") and len(v.shape)), 1)


def _field(outputs: Any, name: str, position: int) -> Any:
    found = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
    if found is None and isinstance(outputs, tuple):
        found = outputs[position]
    return found


def _auxiliary(outputs: Any, config: Any) -> Tensor | None:
    value = _field(outputs, "aux_loss", -1) if isinstance(outputs, Mapping) else getattr(outputs, "aux_loss", None)
    coefficient = getattr(config, "router_aux_loss_coef", None)
    if value is None or not coefficient or not hasattr(value, "float"):
        return None
    weighted: Tensor = value.float() * coefficient
    return weighted


def _cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, int]:
    """Summed over targets; ``logits`` (N, V) fp32, ``labels`` (N,)."""
    kept = labels != IGNORED
    log_p = logits.log_softmax(-1)
    picked = -log_p.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    if smoothing:
        picked = (1 - smoothing) * picked - smoothing * log_p.mean(-1)
    return picked.masked_fill(~kept, 0.0).sum(), int(kept.sum())


def _rows(logits: Tensor, labels: Tensor, config: Any, auxiliary: Tensor | None, smoothing: float) -> BatchLoss:
    from torch.nn.functional import binary_cross_entropy_with_logits

    rows = int(logits.shape[0])
    whole = labels.dtype.is_floating_point
    if getattr(config, "problem_type", None) == "regression" or logits.shape[-1] == 1:
        error = logits.squeeze(-1) - labels.float().reshape(logits.squeeze(-1).shape)
        return BatchLoss(total=error.pow(2).reshape(rows, -1).mean(-1).sum(), count=rows, auxiliary=auxiliary)
    if whole or labels.shape == logits.shape:
        each = binary_cross_entropy_with_logits(logits, labels.float(), reduction="none").mean(-1)
        return BatchLoss(total=each.sum(), count=rows, auxiliary=auxiliary)
    total, count = _cross_entropy(logits, labels.reshape(-1), smoothing)
    return BatchLoss(total=total, count=count, auxiliary=auxiliary)


def _spans(outputs: Any, inputs: Mapping[str, Any], auxiliary: Tensor | None) -> BatchLoss:
    from torch.nn.functional import cross_entropy

    start, end = _field(outputs, "start_logits", 0).float(), _field(outputs, "end_logits", 1).float()
    length = start.shape[1]
    first, last = (
        cross_entropy(logits, inputs[key].reshape(-1).clamp(0, length), ignore_index=length, reduction="sum")
        for logits, key in ((start, "start_positions"), (end, "end_positions"))
    )
    return BatchLoss(total=(first + last) / 2, count=int(start.shape[0]), auxiliary=auxiliary)
