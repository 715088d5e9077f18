"""Takes the chance out of a model's forward pass, and says whether that worked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

WORD = "drop"  # attention_dropout, resid_pdrop, layerdrop, drop_path, hidden_dropout_prob ...


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Set every dropout rate of modules and configurations to 0 and put them back afterwards.

    Covers ``nn.Dropout`` and its kin, rates that a module keeps as a number or reads from its configuration when it
    runs, and layer drop; works in the threads in which autograd recomputes checkpointed layers. ``train()`` stays as
    it is, so layers that behave differently in training for another reason still do.
    """
    undo: list[tuple[Any, str, float]] = []
    seen: set[int] = set()
    for module in model.modules():
        holders = [module, getattr(module, "config", None)]
        for holder in holders:
            if holder is None or id(holder) in seen or not hasattr(holder, "__dict__"):
                continue
            seen.add(id(holder))
            undo += _zero(holder, is_dropout="Dropout" in type(holder).__name__)
    try:
        yield
    finally:
        for holder, name, value in reversed(undo):
            setattr(holder, name, value)


def _zero(holder: Any, *, is_dropout: bool) -> list[tuple[Any, str, float]]:
    undo = []
    for name, value in list(vars(holder).items()):
        rate = isinstance(value, float) and 0.0 < value <= 1.0
        if rate and (WORD in name or (is_dropout and name == "p")):
            undo.append((holder, name, value))
            setattr(holder, name, 0.0)
    return undo
