"""CFG031 schedule-length-wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.configuration._schedule_units import (
    ACCUMULATION,
    IN_EPOCHS,
    OF_LOADER,
    TOTALS,
    WARMED,
    Found,
    accumulation_left_out,
    by_epoch_for_batches,
    cycle_by_epoch,
    epochs_as_total,
    lightning_interval,
    misplaced_interval,
    rows_counted,
    warmed_throughout,
    warmup_overridden,
)
from holter.checks.context import given_count
from holter.checks.look import facts_of, is_on, seen, written
from holter.checks.script import argument, first_in_each, last_part, spelt_out, texts
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

PERIODIC = regex(r"^(?:CosineAnnealingLR|OneCycleLR|PolynomialLR|LinearLR)$")
TIMES_ACCUMULATION = regex(r"\*\s*\(?[\w.]*(?:accum)[\w.]*", re.I)
OVER_ACCUMULATION = regex(r"/\s*\(?[\w.]*(?:accum|update_freq)[\w.]*", re.I)
TIMES_WARMUP = regex(r"[\w.]*warm_?up[\w.]*\s*\*|\*\s*[\w.]*warm_?up", re.I)
WARM = regex(r"warm_?up", re.I)
LOADER_OVER_BATCH = regex(r"len\(\s*[^()]*(?:loader|_dl\b)[^()]*\)\s*//?\s*\(?(?:[\w.]*\.)?\w*batch_?size", re.I)
"""A loader's length counts batches; dividing by the size of a batch once more makes it too small by that size."""

LOADER_OVER_EPOCHS = regex(r"len\(\s*[^()]*\)\s*//?\s*\(?[\w.]*epochs?\b|\bbatches\w*\s*//?\s*\(?[\w.]*epochs?\b", re.I)
"""Batches of an epoch are to be multiplied by the number of epochs."""

LENGTH = regex(r"step|total|updates?|iter|t_max|max_", re.I)
LOOPS = 2
"""One over epochs, one over batches."""

SURE = 4.0
"""Bits from which a length is called wrong; below, what is stepped stands in another file."""

DISTRIBUTED = regex(r"num_processes|world_size", re.I)


class ScheduleLengthWrong(Check):
    """What it looks for
        A schedule whose length is computed in another unit than it is stepped in: warmup and total exchanged, the
        length of a loader divided by the batch size or by the epochs, rows or micro-batches counted where updates are
        made, epochs counted where batches are stepped, or a length multiplied by the accumulation although Accelerate
        steps the scheduler with the optimizer.

    Why it hurts
        The rate is at zero long before the end, never comes down, or goes round again.

    How to fix it
        Count updates: ``ceil(len(loader) / gradient_accumulation_steps) * num_train_epochs``. With a scheduler
        prepared by Accelerate multiply that by the number of processes, and by nothing else.

    When to ignore it
        Where the accumulation is 1.

    Threshold
        None: the expressions are read.

    Sources
        The documentation of PyTorch's and transformers' schedulers; AcceleratedScheduler in accelerate.
    """

    code = "CFG031"
    name = "schedule-length-wrong"
    title = "The schedule's length is not counted in the steps it is given"
    severity = Severity.WARNING
    stage = Stage.SCHEDULE
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "exchanged",
            "s = get_linear_schedule_with_warmup(opt, num_warmup_steps=total, "
            "num_training_steps=warmup_ratio * total)\n",
        ),
        script(
            "a share of 0 for a warmup in steps",
            "warmup_steps = args.warmup_steps\nif args.warmup_ratio >= 0:\n"
            "    warmup_steps = int(total * args.warmup_ratio)\n",
        ),
        script(
            "batches, stepped by epoch",
            "s = get_linear_schedule_with_warmup(opt, 500, len(loader) * epochs)\nfor e in range(epochs):\n"
            "    for b in loader:\n        loss.backward()\n        opt.step()\n    s.step()\n",
        ),
        script(
            "Lightning, without its interval",
            "class M(LightningModule):\n    def configure_optimizers(self):\n"
            "        s = get_cosine_schedule_with_warmup(opt, 100, self.total_steps)\n        return [opt], [s]\n",
        ),
        script(
            "an interval in the wrong place",
            "def configure_optimizers(self):\n    s = LambdaLR(opt, f)\n"
            "    return {'optimizer': opt, 'lr_scheduler': s, 'interval': 'step'}\n",
        ),
        script(
            "all of it is warmup",
            "n = len(dl) * cfg.epochs\ns = get_linear_schedule_with_warmup(o, 2 * len(dl), n)\ncfg.epochs = 1\n",
        ),
        script(
            "a cycle of batches, stepped by epoch",
            "s = OneCycleLR(o, max_lr=1e-3, steps_per_epoch=len(dl), epochs=9)\nfor epoch in range(9):\n"
            "    train_one_epoch(net, dl, o)\n    s.step()\n",
        ),
        case("divided by the epochs", files={"a.py": "t_total = len(train_loader) // num_epochs\n"}),
        case("rows", files={"a.py": "fn = create_learning_rate_fn(len(data['train']), warmup_steps, lr)\n"}),
        script("epochs for a total", "s = OneCycleLR(opt, max_lr, epochs, steps_per_epoch=len(loader))\n"),
        script(
            "the trainer accumulates",
            "steps = len(rows) // batch_size * epochs\nm = Net(steps=steps)\n"
            "t = pl.Trainer(max_epochs=9, accumulate_grad_batches=4)\n",
        ),
        script(
            "epochs for steps",
            "s = get_scheduler(name, opt, max_steps=cfg.max_epoch)\n# every optimizer step\ns.step()\n",
        ),
        case("divided again", files={"a.py": "total_steps = epochs * (len(train_loader) // cfg.batch_size)\n"}),
        script(
            "times the accumulation",
            "s = get_scheduler('linear', optimizer=o, num_training_steps=n * args.accumulation_steps)\n"
            "model, o, s = accelerator.prepare(model, o, s)\n",
        ),
        script(
            "micro-batches",
            "n = len(loader) * epochs\ns = get_linear_schedule_with_warmup(o, 10, n)\n"
            "for e in range(epochs):\n    for i, b in enumerate(loader):\n        loss.backward()\n"
            "        if i % accum == 0:\n            o.step()\n            s.step()\n",
        ),
        script(
            "epochs",
            "scheduler = CosineAnnealingLR(optimizer, T_max=epochs)\nfor e in range(epochs):\n"
            "    for b in loader:\n        loss.backward()\n        optimizer.step()\n        scheduler.step()\n",
        ),
    )
    good = (
        script("rows over the batch size", "s = create_lr_schedule(len(train_rows) // batch_size * epochs, warmup)\n"),
        script(
            "a function that divides",
            "fn = create_learning_rate_fn(len(train_dataset), train_batch_size, epochs, warmup, lr)\n",
        ),
        script(
            "a share where there is one",
            "warmup_steps = args.warmup_steps\nif args.warmup_ratio > 0:\n"
            "    warmup_steps = int(total * args.warmup_ratio)\n",
        ),
        script(
            "Lightning, with its interval",
            "class M(LightningModule):\n    def configure_optimizers(self):\n"
            "        s = get_cosine_schedule_with_warmup(opt, 100, self.total_steps)\n"
            "        return [opt], [{'scheduler': s, 'interval': 'step'}]\n",
        ),
        case("one epoch of warmup", files={"a.py": "s = get_cosine_schedule_with_warmup(o, len(dl), len(dl) * 9)\n"}),
        script(
            "a cycle of batches, handed on",
            "s = OneCycleLR(o, max_lr=1e-3, steps_per_epoch=len(dl), epochs=9)\nfor epoch in range(9):\n"
            "    train_one_epoch(net, dl, o, s)\n",
        ),
        case("batches times epochs", files={"a.py": "total_steps = len(train_loader) * epochs\n"}),
        script(
            "the accumulation is in the length",
            "steps = len(rows) // (batch_size * accum) * epochs\nm = Net(steps=steps)\n"
            "t = pl.Trainer(max_epochs=9, accumulate_grad_batches=accum)\n",
        ),
        script(
            "in their places",
            "s = get_linear_schedule_with_warmup(opt, num_warmup_steps=warmup_ratio * total, "
            "num_training_steps=total)\n",
        ),
        case("rows over the size", files={"a.py": "total_steps = epochs * (len(train_rows) // cfg.batch_size)\n"}),
        script(
            "updates",
            "n = len(loader) // accum * epochs\ns = get_linear_schedule_with_warmup(o, 10, n)\n"
            "for e in range(epochs):\n    for i, b in enumerate(loader):\n        loss.backward()\n"
            "        if i % accum == 0:\n            o.step()\n            s.step()\n",
        ),
        script(
            "epochs, stepped by epoch",
            "scheduler = CosineAnnealingLR(optimizer, T_max=epochs)\nfor e in range(epochs):\n"
            "    for b in loader:\n        loss.backward()\n        optimizer.step()\n    scheduler.step()\n",
        ),
        script(
            "times the processes",
            "s = get_scheduler('linear', o, num_training_steps=n * accelerator.num_processes)\n"
            "s = accelerator.prepare(s)\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first fault of each file."""
        for message, evidence, weights in first_in_each(run, lambda code: _wrong(run, code)):
            yield self.finding(
                message,
                evidence=evidence,
                clues=clues(message, **weights),
                severity=Severity.WARNING if max(weights.values()) >= SURE else Severity.NOTE,
                fix=Fix(summary="Give the scheduler the number of times that it is stepped."),
            )


def _wrong(run: Run, code: Code) -> Iterator[Found]:
    for call in code.calls:
        yield from rows_counted(run, call, code)
        yield from cycle_by_epoch(call, code)
        total = _total(call)
        if total is None:
            continue
        meant = spelt_out(total, call, code)
        yield from _exchanged(call, code, meant)
        yield from warmed_throughout(run, call, code, meant)
        yield from _times_accumulation(run, call, code, meant)
        yield from _micro_batches(run, call, code, meant)
        yield from _epochs_for_batches(run, call, meant)
        yield from epochs_as_total(call, code, meant)
        yield from by_epoch_for_batches(call, code, meant)
    yield from _divided_again(code)
    yield from accumulation_left_out(code)
    yield from warmup_overridden(code)
    yield from lightning_interval(code)
    yield from misplaced_interval(code)


def _total(call: Call) -> Any:
    name = last_part(call.name)
    if WARMED.match(name):
        return argument(call, 2, *TOTALS) if name != "get_scheduler" else argument(call, 3, *TOTALS)
    return argument(call, 1, *TOTALS) if PERIODIC.match(name) else None


def _exchanged(call: Call, code: Code, total: str) -> Iterator[Found]:
    warmup = argument(call, 1, "num_warmup_steps", "warmup_steps")
    if warmup is None or not WARMED.match(last_part(call.name)) or last_part(call.name) == "get_scheduler":
        return
    if TIMES_WARMUP.search(total) and "+" not in total and "-" not in total:
        first = spelt_out(warmup, call, code)
        if number(warmup) is None and not WARM.search(first):
            yield "warmup and total of the schedule are exchanged", [seen(call)], {"warmup_too_long": 6.5}


def _times_accumulation(run: Run, call: Call, code: Code, total: str) -> Iterator[Found]:
    one = given_count(run, "gradient_accumulation_steps") == 1
    prepared = [c for c in code.named("prepare") if c.order > call.order or "sched" in c.target]
    handed = [c for c in prepared if any("sched" in written(a) or written(a) == call.target for a in c.args)]
    direct = TIMES_ACCUMULATION.search(written(_total(call))) is not None
    if not direct or one or OVER_ACCUMULATION.search(written(_total(call))):
        return
    if handed:
        yield (
            "the length is multiplied by the accumulation, and Accelerate steps the scheduler with the optimizer",
            [seen(call), seen(handed[0])],
            {"scheduler_step_mismatch": 6.0},
        )
    elif not any(c.name == f"{call.target}.step" for c in code.calls):
        yield (
            "the length is multiplied by the accumulation, which is right only for one step every micro-batch",
            [seen(call)],
            {"scheduler_step_mismatch": 3.0},
        )


def _micro_batches(run: Run, call: Call, code: Code, total: str) -> Iterator[Found]:
    """Batches are counted for a scheduler that is stepped once every few of them."""
    if not OF_LOADER.search(total) or ACCUMULATION.search(total) or DISTRIBUTED.search(total):
        return
    for step in code.named("step"):
        guard = next((g for g in step.guards if "%" in g and ACCUMULATION.search(g)), None)
        if guard is not None and call.target and step.name == f"{call.target}.step":
            text = f"{step.name}() under {guard}"
            yield (
                "the schedule counts batches, and is stepped once for several of them",
                [seen(call), Evidence(text=text, source=step.source)],
                {"scheduler_step_mismatch": 5.5},
            )
            return


def _epochs_for_batches(run: Run, call: Call, total: str) -> Iterator[Found]:
    by_epoch = facts_of(run, "training_step.scheduler_per_epoch")
    micro = facts_of(run, "training_step.scheduler_after_optimizer")
    name = last_part(call.name)
    if not (PERIODIC.match(name) or WARMED.match(name)) or not IN_EPOCHS.match(total.strip("()")) or not micro:
        return
    if "len(" in total or any(is_on(value.value) for value in by_epoch) or "epochs" in call.kwargs:
        return
    stepped = [c for code in run.code for c in code.calls if c.name == f"{call.target}.step"]
    if call.target and stepped and all(c.loop_depth >= LOOPS and not c.args and not c.kwargs for c in stepped):
        yield (
            "the schedule counts epochs, and is stepped for every batch",
            [seen(call), seen(stepped[0])],
            {"scheduler_step_mismatch": 6.0},
        )


def _divided_again(code: Code) -> Iterator[Found]:
    for assignment in code.assignments:
        text = written(assignment.value)
        if LENGTH.search(assignment.target) and LOADER_OVER_EPOCHS.search(text):
            yield (
                "the batches of an epoch are divided by the number of epochs, not multiplied",
                [Evidence(text=f"{assignment.target} = {text}", source=assignment.source)],
                {"scheduler_step_mismatch": 6.5, "lr_zero": 1.0},
            )
        if LENGTH.search(assignment.target) and LOADER_OVER_BATCH.search(text):
            names = (*texts(code), *code.comments, *(a.target for a in code.assignments))
            warmed = any(WARM.search(name) for name in names)
            yield (
                "the length of a loader, which counts batches, is divided by the batch size",
                [Evidence(text=f"{assignment.target} = {text}", source=assignment.source)],
                {"scheduler_step_mismatch": 4.5, "warmup_too_long": 5.0 if warmed else 2.0},
            )
