"""The learning rate at every step of the planned run, and what weight decay does to norms and biases over it."""

from __future__ import annotations

import math
from typing import Any

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject

MOST_STEPS = 200_000  # a longer run is sampled at this many steps


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``schedule.*``: steps planned, warmup in steps, rates; ``optimizer.decayed_norms`` and ``norm_shrink``.

    The latter is the share by which decay alone shrinks a norm or bias over the run: 1 - exp(-weight_decay x sum of
    rates), since AdamW multiplies every weight by 1 - rate x weight_decay at each step.
    """
    args = subject.args
    if args is None:
        notebook.fact("optimizer.decayed_norms", _decayed_groups(subject.optimizer)[0])
        _epsilon(subject, notebook)
        raise Lacks("TrainingArguments, so the schedule is not known")
    rates = _rates(subject, notebook)
    notebook.fact("schedule.max_rate", max(rates, default=0.0))
    notebook.fact("schedule.final_rate", rates[-1] if rates else 0.0)
    notebook.fact("schedule.share_at_zero", sum(r == 0 for r in rates) / max(len(rates), 1))
    _epsilon(subject, notebook)
    decayed, decay = _decayed(subject)
    total = sum(rates) * _steps(subject) / max(len(rates), 1)
    notebook.fact("optimizer.decayed_norms", decayed)
    notebook.fact("optimizer.norm_shrink", 1 - math.exp(-decay * total) if decayed else 0.0)


def _rates(subject: Subject, notebook: Notebook) -> list[float]:
    import torch
    from transformers import get_scheduler

    args, steps = subject.args, _steps(subject)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=args.learning_rate)
    warmup = int(args.get_warmup_steps(steps))
    scheduler = get_scheduler(
        args.lr_scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=warmup,
        num_training_steps=steps,
        scheduler_specific_kwargs=args.lr_scheduler_kwargs or {},
    )
    rates = []
    for _ in range(min(steps, MOST_STEPS)):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    notebook.fact("schedule.steps", steps)
    notebook.fact("schedule.warmup_steps", warmup)
    return rates


def _epsilon(subject: Subject, notebook: Notebook) -> None:
    own = getattr(subject.optimizer, "defaults", {}).get("eps", getattr(subject.args, "adam_epsilon", None))
    if isinstance(own, float):
        notebook.fact("optimizer.epsilon", own)


def _steps(subject: Subject) -> int:
    args = subject.args
    if args.max_steps > 0:
        return int(args.max_steps)
    rows = len(subject.train_dataset) if hasattr(subject.train_dataset, "__len__") else 0
    if not rows:
        raise Lacks("a length of the data, or max_steps, so the steps of the run are not known")
    micro: int = math.ceil(rows / (args.per_device_train_batch_size * max(args.world_size, 1)))
    epochs = float(args.num_train_epochs)
    updates = max(micro // int(args.gradient_accumulation_steps), 1)
    return math.ceil(updates * epochs)


def _decayed(subject: Subject) -> tuple[int, float]:
    """Norm weights and biases that weight decay applies to, and its size; the Trainer leaves them out by itself."""
    trainer, args = subject.trainer, subject.args
    if subject.optimizer is not None:
        return _decayed_groups(subject.optimizer)
    if trainer is None or not args.weight_decay:
        return 0, 0.0
    decayed = set(trainer.get_decay_parameter_names(subject.model))
    norms = [n for n, p in subject.model.named_parameters() if p.requires_grad and p.ndim < 2 and n in decayed]
    return len(norms), float(args.weight_decay)


def _decayed_groups(optimizer: Any) -> tuple[int, float]:
    groups = [group for group in getattr(optimizer, "param_groups", ()) if group.get("weight_decay")]
    found = [(p, float(group["weight_decay"])) for group in groups for p in group["params"] if p.ndim < 2]
    return len(found), max((decay for _, decay in found), default=0.0)
