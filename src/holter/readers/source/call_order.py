"""Calls of a training step that somebody listed in order, judged like those of a script.

``calls_per_training_step: [zero_grad, forward, backward, step, clip_grad_norm_]``.
"""

from __future__ import annotations

import re

from holter.patterns import regex
from holter.run import Call, Code, Run, Value

NAMED = regex(r"(?:^|[._\s])(?:calls?|order(?:ing)?|sequence)(?=$|[._\s])", re.I)
COMPLETE = regex(r"call|sequence", re.I)
"""Names of such lists; only the calls of a step are all of them, an order may be that of a few.

A bare ``step`` may be that of an engine that clears the gradients itself, so nothing is missed beside it.
"""

APART = regex(r"\s*(?:->|=>|→|,|;|\bthen\b)\s*")
GIVEN = regex(r"\([^()]*\)")
BARE = {
    "zero_grad": "optimizer.zero_grad",
    "backward": "loss.backward",
    "step": "optimizer.step",
    "unscale_": "scaler.unscale_",
    "update": "scaler.update",
}
"""Methods that are listed without their objects."""

FEWEST = 3


def add_listed_calls(run: Run) -> None:
    """Add the facts about a training step whose calls a fact or setting lists.

    Args:
        run: everything that was read; gets facts ``training_step.<name>``.
    """
    for name, values in [*run.facts.items(), *run.config.items()]:
        if NAMED.search(name):
            for value in values[:1]:
                _add(run, name, value)


def _add(run: Run, name: str, value: Value) -> None:
    items = APART.split(_bare(value.value)) if isinstance(value.value, str) else value.value
    if not isinstance(items, list) or len(items) < FEWEST or not all(isinstance(item, str) for item in items):
        return
    names = [
        _call(item, engine="deepspeed" in str([v.value for v in run.config.get("framework", ())]).lower())
        for item in items
    ]
    last = [text.rsplit(".", 1)[-1] for text in names]
    if "backward" not in last or "step" not in last:
        return
    from holter.readers.source.training_step import add_facts

    calls = (
        Call(name=text, args=(), kwargs={}, source=value.source, loop_depth=1, order=at, loops=("for batch in loader",))
        for at, text in enumerate(names, start=1)
    )
    told = Run()
    add_facts(told, Code(source=value.source, calls=tuple(calls), assignments=()), {}, value.authority)
    for fact, found in told.facts.items():
        if fact != "training_step.zero_grad" or found[0].value or (COMPLETE.search(name) and "optim" in str(items)):
            for one in found:
                run.add_fact(fact, one)


def _call(item: str, *, engine: bool) -> str:
    """The name of a listed call, as code would write it."""
    text = _bare(item).strip().strip("`'\"").rpartition("= ")[2]
    return BARE.get(text, text).replace("optimizer.", "engine.") if engine else BARE.get(text, text)


def _bare(text: str) -> str:
    """A text without arguments, also those with calls among them."""
    return GIVEN.sub("", GIVEN.sub("", text))
