"""What two real steps move: the update of every trainable tensor relative to its size, and which get no gradient."""

from __future__ import annotations

import math
from typing import Any

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject

STEPS = 2
"""The second step also moves what the first cannot: LoRA's A matrices, while B is still zero."""

SHOWN = 5


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``update.*`` after `STEPS` steps at the full rate, which are then undone."""
    import torch

    if len(notebook.batches) == 0:
        raise Lacks("no batch to step on")
    trainable = {n: p for n, p in subject.model.named_parameters() if p.requires_grad}
    if not trainable:
        raise Lacks("no trainable parameter")
    before = {name: p.detach().clone() for name, p in trainable.items()}
    touched: set[str] = set()
    optimizer = _optimizer(subject, trainable)
    device = next(subject.model.parameters()).device
    subject.model.train()
    for index in range(STEPS):
        batch = notebook.batches[index % len(notebook.batches)]
        inputs = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        loss = getattr(subject.model(**inputs), "loss", None)
        if loss is None or not loss.requires_grad:
            raise Lacks("the loss has no gradient")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        touched |= {name for name, p in trainable.items() if p.grad is not None and bool((p.grad != 0).any())}
        notebook.fact("update.grad_norm", _norm(trainable))
        optimizer.step()
    _write(trainable, before, touched, notebook)


def _optimizer(subject: Subject, trainable: dict[str, Any]) -> Any:
    """A second optimizer of the same kind, so that the state of the real one stays untouched."""
    import torch

    if subject.trainer is not None:
        kind, options = type(subject.trainer).get_optimizer_cls_and_kwargs(subject.args, subject.core)
        allowed = {k: v for k, v in options.items() if k in ("lr", "betas", "eps", "weight_decay", "scale_parameter",
                                                            "relative_step")}  # fmt: skip
        return kind(list(trainable.values()), **allowed)
    if subject.optimizer is not None:
        defaults = {k: v for k, v in subject.optimizer.defaults.items() if k in ("lr", "betas", "eps", "weight_decay")}
        return type(subject.optimizer)(list(trainable.values()), **defaults)
    return torch.optim.AdamW(list(trainable.values()), lr=1e-4)


def _norm(trainable: dict[str, Any]) -> float:
    return math.sqrt(sum(float(p.grad.float().pow(2).sum()) for p in trainable.values() if p.grad is not None))


def _write(trainable: dict[str, Any], before: dict[str, Any], touched: set[str], notebook: Notebook) -> None:
    ratios: dict[str, float] = {}
    rounded = total = 0
    for name, parameter in trainable.items():
        old, new = before[name].float(), parameter.detach().float()
        size = float(old.norm())
        ratios[name] = float((new - old).norm()) / size if size > 0 else math.inf
        if parameter.element_size() < 4:
            total += parameter.numel()
            rounded += int((new == old).sum())
    moved = [name for name in trainable if ratios[name] > 0]
    finite = sorted(r for r in ratios.values() if 0 < r < math.inf)
    notebook.fact("update.tensors", len(trainable))
    notebook.fact("update.moved", len(moved))
    notebook.fact("update.unmoved", sorted(set(trainable) - set(moved))[:SHOWN])
    notebook.fact("update.without_gradient", sorted(set(trainable) - touched)[:SHOWN])
    notebook.fact("update.without_gradient_count", len(trainable) - len(touched))
    if finite:
        notebook.fact("update.ratio.median", finite[len(finite) // 2])
        notebook.fact("update.ratio.max", finite[-1])
    if total:
        notebook.fact("update.rounded_share", rounded / total)
