"""First loss and logits against their yardstick, from a forward pass in fp32 without dropout."""

from __future__ import annotations

import math

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``logits.*`` and ``first_loss``, the model's own loss in nats, with the yardsticks of that loss.

    For C outputs whose logits scatter with standard deviation s, the expected cross entropy of an untrained head is
    about ln C + s^2 / 2 while s is small (the mean of a lognormal sum), and at most s sqrt(2 ln C) + ln C.
    """
    import torch

    if not notebook.batches:
        raise Lacks("a batch")
    subject.model.eval()
    with torch.no_grad():
        outputs = subject.model(**notebook.few())
    logits = outputs.logits if hasattr(outputs, "logits") else None
    if logits is None:
        raise Lacks("a model that returns logits")
    values = logits.float()
    spread = float(values.std(-1, unbiased=values.shape[-1] > 1).mean())
    notebook.fact("logits.mean", float(values.mean()))
    notebook.fact("logits.std", spread)
    notebook.fact("logits.min", float(values.min()))
    notebook.fact("logits.max", float(values.max()))
    loss = getattr(outputs, "loss", None)
    if loss is not None:
        notebook.fact("first_loss", float(loss))
    if values.shape[-1] < 2 or _is_regression(notebook):
        return
    notebook.fact("logits.classes", int(values.shape[-1]))
    notebook.fact("first_loss.yardstick", math.log(values.shape[-1]))
    notebook.fact("first_loss.expected", math.log(values.shape[-1]) + min(spread**2 / 2, spread * math.sqrt(
        2 * math.log(max(values.shape[-1], 2)))))  # fmt: skip


def _is_regression(notebook: Notebook) -> bool:
    """Labels that are no class ids: the yardsticks are those of a cross entropy."""
    labels = notebook.batches[0].get("labels")
    return labels is not None and labels.is_floating_point()
