"""The learning rate at every step of the planned run, and weight decay on norms and biases."""

from __future__ import annotations

import math

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject

MOST_STEPS = 200_000  # a longer run is sampled at this many steps


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``schedule.*``: steps planned, warmup in steps, rates; and how many decayed parameters are norms."""
    import torch

    args = subject.args
    if args is None:
        raise Lacks("no TrainingArguments to plan from")
    from transformers import get_scheduler

    steps = _steps(subject)
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
    notebook.fact("schedule.max_rate", max(rates, default=0.0))
    notebook.fact("schedule.final_rate", rates[-1] if rates else 0.0)
    notebook.fact("schedule.share_at_zero", sum(r == 0 for r in rates) / max(len(rates), 1))
    notebook.fact("optimizer.epsilon", float(getattr(args, "adam_epsilon", math.nan)))
    notebook.fact("optimizer.decayed_norms", _decayed_norms(subject))


def _steps(subject: Subject) -> int:
    args = subject.args
    if args.max_steps > 0:
        return int(args.max_steps)
    rows = len(subject.train_dataset) if hasattr(subject.train_dataset, "__len__") else 0
    if not rows:
        raise Lacks("a length of the data or max_steps, so the steps of the run are not known")
    micro: int = math.ceil(rows / (args.per_device_train_batch_size * max(args.world_size, 1)))
    epochs = float(args.num_train_epochs)
    updates = max(micro // int(args.gradient_accumulation_steps), 1)
    return math.ceil(updates * epochs)


def _decayed_norms(subject: Subject) -> int:
    """How many norm weights and biases the weight decay applies to; the Trainer leaves them out by itself."""
    trainer, args = subject.trainer, subject.args
    if trainer is None or not args.weight_decay:
        return 0
    decayed = set(trainer.get_decay_parameter_names(subject.model))
    return sum(p.ndim < 2 and name in decayed for name, p in subject.model.named_parameters() if p.requires_grad)
