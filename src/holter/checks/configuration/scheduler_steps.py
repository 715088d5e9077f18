"""CFG009 scheduler-runs-ahead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import calls, facts_of, is_off, is_on, known, mixed_half, plain, seen, switched_on, written
from holter.checks.messages import said
from holter.checks.script import first_in_each, last_part, mentions, receiver
from holter.checks.symptoms import QUOTED, number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

TRAINERS = ("Trainer", "Seq2SeqTrainer", "SFTTrainer", "DPOTrainer")
"""They hand the scheduler its true number of updates whatever the number of processes."""

SCHEDULERS = (
    "StepLR",
    "MultiStepLR",
    "LinearLR",
    "PolynomialLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "OneCycleLR",
    "get_scheduler",
    "get_linear_schedule_with_warmup",
    "get_cosine_schedule_with_warmup",
)
"""Constructors that take a length in steps."""

LENGTH_WORDS = ("max_train_steps", "num_training_steps", "total_steps", "max_steps", "num_update_steps")


SCHEDULER = regex(r"sched|lr_s\b", re.I)
STEPS = regex(
    r"schedul\w*_(?:steps?|updates?|calls?|advances?)_(?:per|for_(?:one|each))_(?:call|step|update|optimi[sz]er_\w+)$",
    re.I,
)
"""Names of a count of scheduler steps."""


COUNTED = regex(r"%|accum|sync_gradients|^with |scal|skip|overflow|finite|is not None|nan", re.I)
OVER_BATCHES = regex(r"load|batch|\bdl\b|_dl\b|data")
"""Guards of a step for each batch that leave it one, and the header of a loop over batches."""

ORDER = regex(r"lr_scheduler\.step\(\)`? (?:before|prior to) `?optimizer\.step\(\)", re.I)
"""PyTorch's warning when a scheduler is stepped before the first step of the optimizer."""


class SchedulerRunsAhead(Check):
    """What it looks for
        A scheduler that is stepped twice in a row, for each batch and once more for each epoch, or for each micro-batch
        although the optimizer is stepped every n, also where PyTorch warns of their order and gradients are
        accumulated; or one that Accelerate steps once per process although its length counts plain updates, or although
        the script steps it once an epoch.

    Why it hurts
        The rate reaches the end of its schedule early: training goes on at zero, or a cosine comes round again.

    How to fix it
        Step it where the optimizer is stepped. With a scheduler prepared by Accelerate, multiply its lengths by the
        number of processes, or do not prepare it, or use ``split_batches=True``.

    When to ignore it
        When the length was already multiplied.

    Threshold
        None: the order of calls and the settings are read.

    Sources
        AcceleratedScheduler in accelerate; public reports for diffusers and StepLR.
    """

    code = "CFG009"
    name = "scheduler-runs-ahead"
    title = "The scheduler is stepped more often than its length assumes"
    severity = Severity.WARNING
    stage = Stage.SCHEDULE
    needs = Needs(
        any_of=(
            ("training_step.scheduler_per_micro_batch",),
            ("world_size",),
            ("facts",),
            ("variants",),
            ("gradient_accumulation_steps",),
            ("code",),
        )
    )
    bad = (
        script("twice", "for b in dl:\n    net(b).backward()\n    opt.step()\n    sched.step()\n    sched.step()\n"),
        script(
            "for each batch and each epoch",
            "for e in range(9):\n    sched.step()\n    for b in dl:\n        net(b).backward()\n        opt.step()\n"
            "        sched.step()\n",
        ),
        case("counted", facts={"scheduler_steps_per_call": 4}),
        case(
            "warned of",
            config={"gradient_accumulation_steps": 4},
            events=[said("Detected call of `lr_scheduler.step()` before `optimizer.step()`.", "warning")],
        ),
        case(
            "counted in a table",
            variants=[{"run": "a", "scheduler_updates_per_step": 1}, {"run": "b", "scheduler_updates_per_step": 2}],
        ),
        case("every micro-batch", facts={"training_step.scheduler_per_micro_batch": True}),
        case(
            "prepared",
            config={"world_size": 4},
            files={"a.py": "s = LinearLR(opt, total_iters=steps)\ns = accelerator.prepare(s)\n"},
        ),
        case(
            "prepared, batches whole",
            facts={"multi_gpu": True},
            files={
                "a.py": "s = get_cosine_schedule_with_warmup(o, num_warmup_steps=w, num_training_steps=n)\n"
                "o, s = accelerator.prepare(o, s)\n# split_batches: False\n"
            },
        ),
        script(
            "prepared, stepped once an epoch",
            "net, sched = accelerator.prepare(net, sched)\nfor epoch in range(9):\n    for b in dl:\n"
            "        opt.step()\n    sched.step()\n",
        ),
        script(
            "prepared, waiting for a plateau",
            "lr_sched = ReduceLROnPlateau(opt)\nnet, lr_sched = accelerator.prepare(net, lr_sched)\n"
            "lr_sched.step(val_loss)\n",
        ),
        case(
            "every process",
            config={"world_size": 8, "versions.accelerate": "0.21.0", "step_size": 50, "lr_scheduler_type": "StepLR"},
        ),
    )
    good = (
        script(
            "one of two",
            "for b in dl:\n    net(b).backward()\n    opt.step()\n    if warm:\n        sched.step()\n"
            "    else:\n        sched.step()\n",
        ),
        script(
            "for each batch or each epoch",
            "for e in range(9):\n    for b in dl:\n        net(b).backward()\n        opt.step()\n"
            "        if by_batch:\n            sched.step()\n    if not by_batch:\n        sched.step()\n",
        ),
        script(
            "a warmup of the function's own",
            "def train(dl):\n    sched = warmup(opt)\n    for b in dl:\n        net(b).backward()\n        opt.step()\n"
            "        sched.step()\nfor e in range(9):\n    train(dl)\n    sched.step()\n",
        ),
        script(
            "two of them",
            "for e in range(9):\n    for b in dl:\n        net(b).backward()\n        opt.step()\n"
            "        warmup_scheduler.step()\n    epoch_scheduler.step()\n",
        ),
        case("counted once", facts={"scheduler_steps_per_update": 1}),
        case(
            "the first update was skipped",
            config={"gradient_accumulation_steps": 4, "fp16": True},
            events=[said("Detected call of `lr_scheduler.step()` before `optimizer.step()`.", "warning")],
        ),
        case(
            "nothing is accumulated",
            config={"gradient_accumulation_steps": 1},
            events=[said("Detected call of `lr_scheduler.step()` before `optimizer.step()`.", "warning")],
        ),
        case(
            "multiplied",
            config={"world_size": 4},
            files={
                "a.py": "s = get_scheduler('linear', o, num_training_steps=n * accelerator.num_processes)\n"
                "s = accelerator.prepare(s)\n"
            },
        ),
        case(
            "batches are split",
            config={"world_size": 4, "split_batches": True},
            files={"a.py": "s = LinearLR(opt, total_iters=steps)\ns = accelerator.prepare(s)\n"},
        ),
        script(
            "prepared, told to step alone",
            "accelerator = Accelerator(step_scheduler_with_optimizer=False)\n"
            "net, sched = accelerator.prepare(net, sched)\nfor epoch in range(9):\n    for b in dl:\n"
            "        opt.step()\n    sched.step()\n",
        ),
        script(
            "not prepared",
            "net, opt = accelerator.prepare(net, opt)\nfor epoch in range(9):\n    for b in dl:\n"
            "        opt.step()\n    sched.step()\n",
        ),
        case("with the optimizer", facts={"training_step.scheduler_per_micro_batch": False}),
        case("one process", config={"world_size": 1, "versions.accelerate": "0.21.0", "lr_scheduler_type": "StepLR"}),
    )
    not_enough = (case("nothing"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Per micro-batch from the source; per process from the settings."""
        stepped = facts_of(run, "training_step.scheduler_per_micro_batch")
        if stepped and all(value.value for value in stepped):
            message = "the scheduler is stepped for every micro-batch, the optimizer only every few"
            yield self.finding(
                message,
                evidence=[Evidence(text=message, source=stepped[0].source)],
                clues=clues("the scheduler is stepped per micro-batch", scheduler_step_mismatch=6),
                fix=Fix(summary="Step the scheduler where the optimizer is stepped."),
            )
        yield from self._twice(run)
        yield from self._by_batch_and_epoch(run)
        yield from self._warned(run)
        yield from self._counted(run)
        yield from self._by_epoch(run)
        yield from self._per_process(run)

    def _twice(self, run: Run) -> Iterator[Finding]:
        """One scheduler that is stepped twice in a row, after one step of the optimizer."""
        for code in run.code:
            steps = [c for c in code.named("step") if SCHEDULER.search(receiver(c)) and not c.args and c.loops]
            for one, other in pairwise(steps):
                places = [(call.name, call.scope, call.loops, call.guards) for call in (one, other)]
                between = any(one.order < c.order < other.order for c in code.named("step"))
                if places[0] == places[1] and not between:
                    message = f"{one.name}() is called twice in each turn of the loop"
                    yield self.finding(
                        message,
                        evidence=[seen(one), seen(other)],
                        clues=clues(message, scheduler_step_mismatch=6.5),
                        fix=Fix(summary="Step the scheduler once where the optimizer is stepped."),
                    )
                    return

    def _by_batch_and_epoch(self, run: Run) -> Iterator[Finding]:
        """One scheduler that is stepped in the loop over batches and beside that loop."""
        for one, other in first_in_each(run, _in_both_loops):
            message = f"{one.name}() is called for each batch and once more for each epoch"
            yield self.finding(
                message,
                evidence=[seen(one), seen(other)],
                clues=clues(message, scheduler_step_mismatch=6.0),
                fix=Fix(summary="Step the scheduler in one of the two places: where its length counts."),
            )
            return

    def _warned(self, run: Run) -> Iterator[Finding]:
        """PyTorch's warning where gradients are accumulated and no skipped step explains it."""
        accumulation, event = known(run, "gradient_accumulation_steps"), next(with_text(run, ORDER), None)
        several = accumulation is not None and (number(accumulation.plain) or 1) > 1
        if accumulation is None or event is None or not several or mixed_half(run) is not None:
            return
        message = "the scheduler is stepped before the first update is made, for batches that are only accumulated"
        yield self.finding(
            message,
            evidence=[event, accumulation.evidence],
            clues=clues(message, scheduler_step_mismatch=4.5),
            fix=Fix(summary="Step the scheduler where the optimizer is stepped."),
        )

    def _counted(self, run: Run) -> Iterator[Finding]:
        """A count of scheduler steps for one call or update, above one."""
        cells = [cell for row in run.variants for cell in row.items()]
        for name, value in [*((name, values[0]) for name, values in run.facts.items()), *cells]:
            amount = number(value.value)
            if STEPS.search(name) and amount is not None and amount > 1:
                yield self.finding(
                    f"{name} is {amount:g}",
                    evidence=[Evidence(text=f"{name} is {amount:g}", source=value.source, value=amount)],
                    clues=clues("the scheduler moves several steps at once", scheduler_step_mismatch=8),
                    fix=Fix(summary="Step the scheduler once where the optimizer is stepped."),
                )
                return

    def _by_epoch(self, run: Run) -> Iterator[Finding]:
        """A scheduler given to Accelerate that the script steps once an epoch or after a validation."""
        if number(plain(run, "world_size")) == 1 or switched_on(run, "split_batches"):
            return
        for code in run.code:
            if mentions(code, "num_processes") or any(_alone(call) for call in code.named("Accelerator")):
                continue
            owners = {c.target for c in code.named("Accelerator")}
            prepared = [c for c in code.named("prepare") if "accel" in receiver(c).lower() or receiver(c) in owners]
            names = {name: c for c in prepared for name in map(written, c.args) if SCHEDULER.search(name)}
            names |= {name: c for c in prepared for name in c.target.split(", ") if SCHEDULER.search(name)}
            waiting = {last_part(c.target) for c in code.named("ReduceLROnPlateau")}
            for step in code.named("step"):
                name = receiver(step)
                if name in names and (last_part(name) in waiting or _outside(step, code)):
                    message = "the scheduler is stepped once an epoch, and Accelerate makes of it a step a process"
                    yield self.finding(
                        message,
                        evidence=[seen(names[name]), seen(step)],
                        clues=clues(message, scheduler_step_mismatch=6.0),
                        fix=Fix(summary="Do not prepare the scheduler, or pass step_scheduler_with_optimizer=False."),
                    )
                    return

    def _per_process(self, run: Run) -> Iterator[Finding]:
        world = known(run, "world_size")
        processes = number(plain(run, "world_size")) or 1
        several = processes > 1 or (world is None and switched_on(run, "multi_gpu", "multi_gpus") is not None)
        if not several or switched_on(run, "split_batches") or any(True for _ in calls(run, *TRAINERS)):
            return
        length = _length(run)
        if length is None or not _accelerate(run):
            return
        times = f"{processes:g} times" if processes > 1 else "once for every process"
        message = f"Accelerate steps the scheduler {times} per update, its length counts plain updates"
        yield self.finding(
            message,
            evidence=[length, *([] if world is None else [world.evidence])],
            clues=clues("length not multiplied by the number of processes", scheduler_step_mismatch=5),
            fix=Fix(summary="Multiply the scheduler's lengths by the number of processes, or do not prepare it."),
        )


def _in_both_loops(code: Code) -> Iterator[tuple[Call, Call]]:
    """Steps without arguments of one scheduler: beside ``backward`` in a loop, and around that loop."""
    steps = [c for c in code.named("step") if SCHEDULER.search(receiver(c)) and not c.args and not c.kwargs]
    for inner in steps:
        if not inner.loops or not any(
            c.scope == inner.scope and c.loops == inner.loops for c in code.named("backward", "manual_backward")
        ):
            continue
        for outer in steps:
            always = set(outer.guards) <= set(inner.guards) and all(
                map(COUNTED.search, inner.guards[len(outer.guards) :])
            )
            made = [a for a in code.assignments if a.target == receiver(inner)]
            another = any(a.loops or (a.scope == inner.scope != outer.scope) for a in made)
            if outer.name == inner.name and always and not another and _around(outer, inner, code):
                yield inner, outer


def _around(outer: Call, inner: Call, code: Code) -> bool:
    """Whether ``outer`` runs once for each whole turn of the loop of ``inner``, and that loop runs again and again."""
    if outer.scope == inner.scope:
        within = outer.loops == inner.loops[: len(outer.loops)] and len(outer.loops) < len(inner.loops)
        return within and (bool(outer.loops) or (bool(inner.scope) and OVER_BATCHES.search(inner.loops[0]) is not None))
    called = [c for c in code.calls if last_part(c.name) == last_part(inner.scope)]
    return bool(outer.loops) and any(c.scope == outer.scope and c.loops == outer.loops for c in called)


def _alone(accelerator: Call) -> bool:
    """Whether an accelerator steps its schedulers once a call."""
    return is_off(accelerator.kwargs.get("step_scheduler_with_optimizer", True)) or is_on(
        accelerator.kwargs.get("split_batches", False)
    )


def _outside(step: Call, code: Code) -> bool:
    """Whether the loop over the batches lies inside that of the step."""
    updates = (c for c in code.named("step", "backward") if c is not step and c.scope == step.scope)
    inner = any(len(c.loops) > len(step.loops) and c.loops[: len(step.loops)] == step.loops for c in updates)
    return bool(step.loops) and (inner or (len(step.loops) == 1 and "epoch" in step.loops[0].lower()))


def with_text(run: Run, words: re.Pattern[str]) -> Iterator[Evidence]:
    """Lines of the log that hold ``words``."""
    for event in run.events:
        if words.search(event.text):
            yield Evidence(text=event.text.strip()[:QUOTED], source=event.source, step=event.step)


def _accelerate(run: Run) -> bool:
    words = written(plain(run, "framework")).lower()
    prepared = any(c.name.rsplit(".", 1)[0].endswith("accelerator") for c in calls(run, "prepare"))
    diffusers = known(run, "versions.diffusers") is not None
    plain_loop = known(run, "versions.accelerate") is not None and known(run, "versions.transformers") is None
    return prepared or diffusers or plain_loop or "accelerate" in words or "diffusers" in words


def _length(run: Run) -> Evidence | None:
    for call in calls(run, *SCHEDULERS):
        if not any("num_processes" in text or "world_size" in text for text in map(written, call.kwargs.values())):
            return seen(call)
    step = known(run, "step_size")
    if step is not None and "step" in written(plain(run, "lr_scheduler_type")).lower():
        return step.evidence
    length = known(run, "lr_decay_steps")
    if length is not None and written(length.plain).lower().split(".")[-1] in LENGTH_WORDS:
        return length.evidence
    return None
