"""Facts about a hand-written training step, from the order of its calls.

A step is shown when ``backward`` and a step of the optimizer stand in one file; an excerpt that shows only one of them
yields no fact about what is missing. Facts are named ``training_step.<name>``; each cites the line that shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holter.patterns import regex
from holter.readers.source.accumulation import add_up, adds_trees
from holter.run import Assignment, Authority, Call, Code, Expression, Run, Value

_OPTIMIZER = regex(r"(^|[._])(optim\w*|opt[a-z]?|opt_\w+|optimizers?(\[\])?|optimizer_?\w*)$", re.I)
_SCHEDULER = regex(r"(sched\w*|\w*scheduler(\[\])?|lr_sched\w*)$", re.I)
_SCALER = regex(r"(^|[._])(\w*scaler)$", re.I)
_ENGINE = regex(r"(^|[._])(\w*engine|model_engine)$", re.I)
_MODULO = regex(r"%|is_accumulation|sync_gradients|is_last|accumulat|should_step|update_step", re.I)
_EVERY_FEW = regex(
    r"\b(?:is_|should_|do_)?\w*(?:accumulation_step|accumulating|micro_?batch_end|last_micro\w*)\b", re.I
)
_GOOD_STEP = regex(r"scale|skip|overflow|sync_gradients|step_was_skipped|is_finite|isfinite|isnan", re.I)
_WIPES = regex(
    r"\.grad(?:\.data)?\.(?:zero_|fill_|detach_)$|zero_?grad\w+|clear_?grad|(?:zero|clear|reset)_\w+_grads?$", re.I
)
_ONCE = regex(r"if \w+ == [01]$")
_AT_THE_END = regex(r"(?:==|>=).*(?:- 1\b|loader\)|last)", re.I)
_FORWARD_BYPASS = regex(r"\.module(\.|\()")
_WRAPPERS = ("DistributedDataParallel", "DDP", "FullyShardedDataParallel", "DataParallel")


@dataclass(frozen=True, kw_only=True)
class Step:
    """The calls of a hand-written step, in order."""

    backward: tuple[Call, ...]
    optimizer: tuple[Call, ...]
    scheduler: tuple[Call, ...]
    zero_grad: tuple[Call, ...]
    unscale: tuple[Call, ...]
    clip: tuple[Call, ...]
    engine: bool
    accelerator: bool
    scaler: bool


def add_facts(run: Run, code: Code, comments: Mapping[tuple[int | None, int], str], authority: Authority) -> None:
    """Add facts about the training step in ``code``, as far as it shows one.

    Args:
        run: where to.
        code: calls and assignments of one file.
        comments: (cell, line) -> comment.
        authority: of the source.
    """
    for name, value, call in (*_facts(code), *_bypass(code, comments), *_checkpoint(code)):
        run.add_fact(name, Value(value=value, source=call.source, raw=_shown(call), authority=authority))


def _shown(call: Call | Assignment) -> str:
    if isinstance(call, Call):
        return f"{call.name}(...)"
    return f"{call.target} = {call.value.text if isinstance(call.value, Expression) else call.value!r}"


Fact = tuple[str, Any, Call | Assignment]


def _facts(code: Code) -> Iterator[Fact]:
    step = _step(code)
    if not step.backward:
        yield from adds_trees(code)
        return
    yield "training_step.has_backward", True, step.backward[0]
    if not step.engine:
        yield from add_up(code, step.backward, step.optimizer)
    if not step.optimizer:
        yield from _by_hand(code)
        return
    yield "training_step.optimizer_step", True, step.optimizer[0]
    if not step.engine:
        yield from _zero_grad(code, step)
        yield from _clip(step)
    yield from _schedule(step)


def _step(code: Code) -> Step:
    calls = sorted(code.calls, key=lambda call: call.order)

    def ending(*names: str) -> tuple[Call, ...]:
        return tuple(call for call in calls if call.name.rsplit(".", 1)[-1] in names)

    steps = [call for call in ending("step") if "." in call.name]
    engine = [call for call in steps if _ENGINE.search(_receiver(call))]
    return Step(
        backward=ending("backward", "manual_backward"),
        optimizer=tuple(
            call
            for call in steps
            if call in engine or _OPTIMIZER.search(_receiver(call)) or _SCALER.search(_receiver(call))
        ),
        scheduler=tuple(call for call in steps if _SCHEDULER.search(_receiver(call))),
        zero_grad=ending("zero_grad"),
        unscale=ending("unscale_", "unscale_gradients"),
        clip=ending("clip_grad_norm_", "clip_grad_norm", "clip_grad_value_", "clip_gradients"),
        engine=bool(engine),
        accelerator=any("accelerator" in _receiver(call) for call in ending("backward")),
        scaler=any(_SCALER.search(_receiver(call)) for call in steps) or bool(code.named("GradScaler")),
    )


def _receiver(call: Call) -> str:
    return call.name.rpartition(".")[0]


def _zero_grad(code: Code, step: Step) -> Iterator[Fact]:
    by_hand: list[Call | Assignment] = [a for a in code.assignments if a.target.endswith(".grad") and a.value is None]
    by_hand += [call for call in code.calls if _WIPES.search(call.name)]
    clearing: list[Call | Assignment] = [*step.zero_grad, *by_hand]
    if not clearing:
        if any(_near(call, update) for call in step.backward for update in step.optimizer):
            yield "training_step.zero_grad", False, step.backward[0]
        return
    yield "training_step.zero_grad", True, clearing[0]
    if not by_hand:
        yield from _cleared_elsewhere(step)
    for wipe in step.zero_grad:
        before = [call for call in step.backward if call.order < wipe.order and call.scope == wipe.scope]
        after = [call for call in step.optimizer if call.order > wipe.order and call.scope == wipe.scope]
        stepped = [
            call for call in step.optimizer if call.order < wipe.order and before and call.order > before[-1].order
        ]
        again = [call for call in step.backward if call.order > wipe.order and after and call.order < after[0].order]
        if before and after and not stepped and not again:
            yield "training_step.zero_grad_before_step", True, wipe


def _near(one: Call, other: Call) -> bool:
    """Whether two calls are in one function or one of them in a function of the other's; methods may be anybody's."""
    return one.scope == other.scope or one.scope.startswith(other.scope) or other.scope.startswith(one.scope)


def _cleared_elsewhere(step: Step) -> Iterator[Fact]:
    """Gradients that are cleared outside the loop of the updates, or those of another optimizer alone."""
    for update in step.optimizer:
        same = all(wipe.scope == update.scope for wipe in step.zero_grad)
        outside = all(
            (len(wipe.loops) < len(update.loops) or any(_ONCE.match(guard) for guard in wipe.guards))
            and wipe.loops == update.loops[: len(wipe.loops)]
            for wipe in step.zero_grad
        )
        backward = any(call.loops == update.loops and call.scope == update.scope for call in step.backward)
        if (
            same
            and outside
            and backward
            and not any(_MODULO.search(guard) or _AT_THE_END.search(guard) for guard in update.guards)
        ):
            yield "training_step.zero_grad_outside_loop", True, update
            return
    for update in step.optimizer:
        last = update.guards[-1] if update.guards else ""
        other = f"if {last[8:-1]}" if last.startswith("if not (") else ""
        here = [call for call in step.backward if call.guards[: len(update.guards)] == update.guards]
        places = [(wipe.guards[: len(update.guards)], wipe.scope) for wipe in step.zero_grad]
        if other and here and places and all(place == ((*update.guards[:-1], other), update.scope) for place in places):
            yield "training_step.zero_grad_in_one_branch", True, update
            return
    stepped = {_stepped(call): call for call in step.optimizer}
    wiped = {_receiver(call) for call in step.zero_grad}
    for name, update in stepped.items():
        beside = [other for other in stepped if other in wiped and stepped[other].scope == update.scope]
        if (
            name not in wiped
            and beside
            and wiped <= set(stepped)
            and len(update.loops) == len(stepped[beside[0]].loops)
        ):
            yield "training_step.optimizer_not_cleared", name, update
            return


def _stepped(call: Call) -> str:
    """The optimizer that makes the step: ``opt`` of ``opt.step()`` and of ``scaler.step(opt)``."""
    given = call.args[0] if call.args else None
    return given.text if _SCALER.search(_receiver(call)) and isinstance(given, Expression) else _receiver(call)


def _by_hand(code: Code) -> Iterator[Fact]:
    """Tensors that are moved along ``.grad`` in place, as the first lessons on gradients do it."""
    cleared = bool(code.named("grad", "zero_grad")) or any(a.target.endswith(".grad") for a in code.assignments)
    cleared = cleared or any(_WIPES.search(call.name) for call in code.calls)
    for assignment in code.assignments:
        text = assignment.value.text if isinstance(assignment.value, Expression) else ""
        owner = assignment.target.removesuffix(".data")
        in_place = assignment.target != owner or text.startswith(f"{owner} - (")
        if in_place and assignment.loops and re.search(rf"{re.escape(owner)}\.grad\b(?!\S*sign)", text):
            yield "training_step.zero_grad", cleared, assignment
            return
    for call in code.calls:
        owner = re.sub(r"(?:\.data)?\.(?:sub_|add_)$", "", call.name)
        given = " ".join(value.text for value in call.args if isinstance(value, Expression))
        if owner != call.name and call.loops and f"{owner}.grad" in given and "sign" not in given:
            yield "training_step.zero_grad", cleared, call
            return


def _clip(step: Step) -> Iterator[Fact]:
    yield "training_step.clip", bool(step.clip), (*step.clip, *step.backward)[0]
    if not step.clip:
        return
    clip, update = step.clip[0], step.optimizer[0]
    beside = [c for c in step.optimizer if c.scope == clip.scope and c.loops == clip.loops and c.order > clip.order]
    yield "training_step.clip_before_step", bool(beside) or clip.order < update.order, clip
    between = [call for call in step.backward if call.loops == clip.loops and call.scope == clip.scope]
    if between and clip.loops == update.loops and clip.order < between[0].order and between[-1].order < update.order:
        yield "training_step.clip_before_backward", True, clip
    if step.scaler and not step.accelerator:
        unscaled = any(call.order < clip.order for call in step.unscale)
        yield "training_step.unscale_before_clip", unscaled, clip


def _schedule(step: Step) -> Iterator[Fact]:
    if not step.scheduler:
        return
    schedule, update = step.scheduler[0], step.optimizer[0]
    same_place = schedule.scope == update.scope
    yield "training_step.scheduler_step", True, schedule
    if not same_place:
        return
    yield "training_step.scheduler_after_optimizer", schedule.order > update.order, schedule
    every_update = schedule.loop_depth == update.loop_depth
    if every_update:
        counted = any("%" in guard or _EVERY_FEW.search(guard) for guard in update.guards)
        free = not any(_MODULO.search(guard) for guard in schedule.guards)
        if counted:
            yield "training_step.scheduler_per_micro_batch", free, schedule
        if step.scaler and not step.accelerator:
            yield (
                "training_step.scheduler_steps_when_skipped",
                not any(_GOOD_STEP.search(guard) for guard in schedule.guards),
                schedule,
            )
    else:
        yield "training_step.scheduler_per_epoch", schedule.loop_depth < update.loop_depth, schedule


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _bypass(code: Code, comments: Mapping[tuple[int | None, int], str]) -> Iterator[Fact]:
    """A forward pass through the module inside the wrapper, which leaves gradients unsynchronised."""
    wrapped = code.named(*_WRAPPERS)
    backward = code.named("backward")
    if not wrapped or not backward:
        return
    yield from _inner_called(code, wrapped)
    for call in code.calls:
        comment = comments.get((call.source.cell, call.source.line or 0), "")
        through = _FORWARD_BYPASS.search(f"{call.name}(") or (".module" in comment and "()" in call.name)
        used = call.target or any(a.order >= call.order and a.source.line == call.source.line for a in code.assignments)
        if through and used and not any("no_grad" in guard for guard in call.guards):
            yield "training_step.ddp_wrapper_bypassed", True, call
            return


def _inner_called(code: Code, wrapped: list[Call]) -> Iterator[Fact]:
    """The module that was wrapped is called by its own name, and the wrapper is not called at all."""
    for wrapper in wrapped:
        inner = wrapper.args[0].text if wrapper.args and isinstance(wrapper.args[0], Expression) else ""
        later = [call for call in code.calls if call.order > wrapper.order]
        forward = [
            call for call in later if call.name == inner and not any("no_grad" in guard for guard in call.guards)
        ]
        used = any(call.name == wrapper.target or wrapper.target in _arguments(call) for call in later)
        if inner.isidentifier() and wrapper.target not in ("", inner) and forward and not used:
            yield "training_step.ddp_wrapper_bypassed", True, forward[0]
            return


def _arguments(call: Call) -> set[str]:
    return {value.text for value in (*call.args, *call.kwargs.values()) if isinstance(value, Expression)}


def _checkpoint(code: Code) -> Iterator[Fact]:
    """What a checkpoint written or read by hand holds."""
    for assignment in code.assignments:
        named = re.search(r"(ckpt|checkpoint|snapshot|save_dict|training_state|state)\w*$", assignment.target, re.I)
        if not named:
            continue
        if isinstance(assignment.value, dict) and _holds_state(assignment.value):
            yield "checkpoint.keys", sorted(map(str, assignment.value)), assignment
        elif "key" in assignment.target.lower() and _is_list_of_text(assignment.value):
            yield "checkpoint.keys", list(assignment.value), assignment
    for call in code.named("save"):
        if call.args and isinstance(call.args[0], dict) and _holds_state(call.args[0]):
            yield "checkpoint.keys", sorted(map(str, call.args[0])), call


def _holds_state(kept: Mapping[str, Any]) -> bool:
    """Whether a dict is a checkpoint: a key or a value speaks of state."""
    return any("state" in str(key) for key in kept) or any(
        isinstance(value, Expression) and "state_dict" in value.text for value in kept.values()
    )
