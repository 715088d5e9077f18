"""The guard of a plain training loop, also with Accelerate."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holter.accounting.heads import unwrapped
from holter.guard.core import Core
from holter.guard.peers import Peers
from holter.guard.record import Record
from holter.guard.settings import Settings

if TYPE_CHECKING:
    from torch import nn

DEFAULT_FOLDER = "holter-run"

logger = logging.getLogger("holter")


@contextmanager
def guarded(
    model: nn.Module, optimizer: Any, *, max_grad_norm: float = math.nan, loss_of: Any = None, **settings: Any
) -> Iterator[Core]:
    """Guard a plain loop: ``with holter.guard(model, optimizer) as g:``.

    Call it with what the loop uses; with Accelerate after ``prepare``. Every hook is off when the block ends, also
    by an exception.

    Args:
        model: as it is called in the loop; DDP and the like are looked through.
        optimizer: a ``torch.optim.Optimizer``, or Accelerate's wrapper of one.
        max_grad_norm: the clip threshold of the loop, for the share of clipped steps.
        loss_of: a function that takes a `MicroBatch` and gives its loss, where that is not the model's own output;
            a replay then goes through loss and backward too.
        **settings: fields of `Settings`.

    Raises:
        TrainingStopped: in the loop, before a broken step would touch the weights.
    """
    known = Settings(**settings)
    folder = Path(known.folder or DEFAULT_FOLDER)
    inner: Any = getattr(model, "module", model)
    record = Record(folder, writes=Peers().rank == 0)
    describe(record, inner)
    core = Core(inner, base_optimizer(optimizer), known, record, max_grad_norm=max_grad_norm, loss_of=loss_of)
    core.announce_with = lambda text: logger.warning("%s", text)
    core.attach()
    try:
        yield core
    finally:
        core.finish()


def base_optimizer(optimizer: Any) -> Any:
    """The optimizer below the wrappers of Accelerate and DeepSpeed, whose hooks really run."""
    found, below = optimizer, optimizer
    while below is not None:
        found = below if hasattr(below, "_optimizer_step_pre_hooks") else found
        below = getattr(below, "optimizer", None)
    return found


def describe(record: Record, model: nn.Module) -> None:
    """What is known of the model, as settings of the run."""
    inner = unwrapped(model)
    config: Any = getattr(inner, "config", None)
    record.setting("architectures", type(inner).__name__)
    classes = ("num_labels",) if "Classification" in type(inner).__name__ else ()
    for name in ("model_type", "vocab_size", "pad_token_id", "eos_token_id", *classes):
        value = getattr(config, name, None)
        if value is not None:
            record.setting(name, value)
    if getattr(config, "_name_or_path", ""):
        record.setting("model_name_or_path", config._name_or_path)
