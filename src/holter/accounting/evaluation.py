"""The Trainer's own evaluation loop over a few batches, and the same batches recomputed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holter.accounting.heads import count_labels
from holter.accounting.records import EvalAccount
from holter.errors import TrialError

if TYPE_CHECKING:
    from torch import Tensor

    from holter.accounting.measure import Book

EVAL_BATCHES = 2  # a mean over processes and over batches shows with two of each


def evaluate(book: Book) -> EvalAccount | None:
    """None, with a note in ``book``, where the loss is the user's own or there is nothing to evaluate on."""
    shadow = book.shadow
    data = shadow.eval_dataset if shadow.eval_dataset is not None else shadow.train_dataset
    data = next(iter(data.values())) if isinstance(data, dict) else data
    few = _first_rows(data, EVAL_BATCHES * int(shadow.args.eval_batch_size) * book.world_size)
    if few is None or (book.custom and not book.agrees):
        book.notes.append("eval_loss was not accounted: the loss is the user's own, or the data has no length")
        return None
    seen: list[Any] = []
    inner = shadow.prediction_step

    def prediction_step(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(dict(inputs))
        return inner(model, inputs, *args, **kwargs)

    shadow.prediction_step = prediction_step
    try:
        metrics = shadow.evaluate(eval_dataset=few)
    except Exception as error:
        raise TrialError("the Trainer's evaluation failed during accounting", why=repr(error)) from error
    if "eval_loss" not in metrics:
        return None
    return _recomputed(book, seen, float(metrics["eval_loss"]))


def _recomputed(book: Book, seen: list[Any], reported: float) -> EvalAccount:
    import torch

    shadow = book.shadow
    sums = book.head_sums() if book.head != "model" else book.model_sums()
    table = torch.zeros(len(seen), 7, dtype=torch.float64)
    with torch.no_grad(), shadow.compute_loss_context_manager():
        for index, batch in enumerate(seen):
            ready = shadow._prepare_inputs(batch)
            found = sums(ready)
            rows = len(next(iter(ready.values())))
            total, count, unshifted = float(found.total), found.count, count_labels(book.head, ready, found.count)
            auxiliary = 0.0 if found.auxiliary is None else float(found.auxiliary)
            alone = [rows * total / max(count, 1), rows * total / max(unshifted, 1)]
            table[index] = torch.tensor([rows, total, count, unshifted, rows * auxiliary, *alone], dtype=torch.float64)
    rows_, total_, count_, unshifted_, auxiliary_, alone_, alone_unshifted = (
        book.sum(table.to(shadow.accelerator.device)).cpu().unbind(1)
    )
    everything = float(rows_.sum())
    extra = float(auxiliary_.sum()) / everything

    def mean(values: Tensor) -> float:
        return float(values.sum()) / everything

    return EvalAccount(
        reported_loss=reported,
        true_loss=mean(rows_ * total_ / count_.clamp(min=1)) + extra,
        token_loss=float(total_.sum() / count_.sum()) + extra,
        per_process_loss=mean(alone_) + extra,
        unshifted_loss=mean(rows_ * total_ / unshifted_.clamp(min=1)) + extra,
        per_process_unshifted_loss=mean(alone_unshifted) + extra,
        auxiliary_loss=extra,
        rows=int(everything),
    )


def _first_rows(data: Any, wanted: int) -> Any:
    try:
        rows = min(wanted, len(data))
    except TypeError:
        return data.take(wanted) if hasattr(data, "take") else None
    if hasattr(data, "select"):
        return data.select(range(rows))
    from torch.utils.data import Subset

    return Subset(data, range(rows))
