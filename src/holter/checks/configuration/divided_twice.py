"""CFG032 loss-divided-twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.context import given_count
from holter.checks.look import seen, written
from holter.checks.script import first_in_each, last_part, receiver, texts, together
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Run
from holter.stages import Stage

BY_NAME = r"/\s*\(?(?:float\()?[\w.]*(?:accum|grad_acc)\w*"
OVER_ACCUMULATION = regex(BY_NAME, re.I)
LOSS = regex(r"loss", re.I)
ENGINE = regex(r"(?:^|\.)(?:\w*engine|ds_model)$", re.I)
COUNT = (
    r"[\w.]*(?:accum|grad_acc)\w*|nb_\w*steps?|n(?:um)?_(?:micro\w*|batches)"
    r"|len\([\w.]*(?:loader|_?dl|iterator|batches|train_data)(?:\.dataset)?\)|len\([\w.]*(?:train|data)set\)"
)
"""Counts of micro-batches and of their rows, as scripts name them; those of updates are fewer."""

ITEM = r"(?:float\()?(\w+)(?:\.(?:item|detach|float|cpu|mean|numpy)\(\)|\.data)*\)?"
ROWS = r"(?: \* (?:[\w.]*\.size\(0\)|[\w.]*\.shape\[0\]|len\([\w.]+\)|[\w.]*(?:batch_size|bs|bsz)))?"
"""A loss as it is summed up, and the rows of its batch."""


class LossDividedTwice(Check):
    """What it looks for
        A loss that the script divides by the number of micro-batches although what it hands it to does so as well
        (Accelerate, Trainer, Lightning, DeepSpeed), or that is divided a second time before it is reported.

    Why it hurts
        Gradients are too small by the number of micro-batches, so clipping never acts and plain SGD stands almost
        still; or the loss in the log, summed from divided ones and divided by the number of batches, is too small by
        that factor and is compared with numbers that are not.

    How to fix it
        Divide in one place. Inside ``accelerator.accumulate`` and ``compute_loss`` return the plain mean.

    When to ignore it
        Where the accumulation is 1.

    Threshold
        None: the expressions are read.

    Sources
        Accelerate's guide to gradient accumulation, ``Accelerator.backward``, ``Trainer.training_step`` and
        ``DeepSpeedEngine.backward``.
    """

    code = "CFG032"
    name = "loss-divided-twice"
    title = "The loss is divided by the accumulation twice"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "inside accumulate",
            "with accelerator.accumulate(model):\n    loss = model(**b).loss\n"
            "    loss = loss / args.gradient_accumulation_steps\n    accelerator.backward(loss)\n",
        ),
        script(
            "in compute_loss",
            "class T(Trainer):\n    def compute_loss(self, model, inputs):\n"
            "        return model(**inputs).loss / self.args.gradient_accumulation_steps\n",
        ),
        script(
            "in the report",
            "for i in range(accum_steps):\n    loss = f(x) / accum_steps\n    shown += loss.detach()\n"
            "    loss.backward()\nshown /= accum_steps\noptimizer.step()\n",
        ),
        script(
            "by the number itself",
            "accelerator = Accelerator(gradient_accumulation_steps=8)\n"
            "with accelerator.accumulate(model):\n"
            "    loss = model(**b).loss / 8\n    accelerator.backward(loss)\n",
        ),
        case("by the engine too", files={"a.py": "model_engine.backward(loss / accumulation_steps)\n"}),
        script(
            "in the mean of an epoch",
            "for b in train_dataloader:\n    loss = model(**b).loss / accum_steps\n    loss.backward()\n"
            "    total_loss += loss.detach().float()\nprint(total_loss / len(train_dataloader))\n",
        ),
        script(
            "in a list",
            "loss = loss / grad_accum\nloss.backward()\nlosses.append(loss.item())\nprint(np.mean(losses))\n",
        ),
        script("in two places", "loss = loss / self.accum\nf.backward(loss)\nloss = loss / self.accumulation\n"),
    )
    good = (
        script(
            "by hand",
            "for b in loader:\n    n += 1\n    loss = model(**b).loss / accum_steps\n    loss.backward()\n"
            "    if n % accum_steps == 0:\n        optimizer.step()\n",
        ),
        script(
            "left to Accelerate", "with accelerator.accumulate(model):\n    accelerator.backward(model(**b).loss)\n"
        ),
        script(
            "one way or the other",
            "if average:\n    loss = loss / accum_steps\nelse:\n    loss = loss / accum_steps / 2\nloss.backward()\n",
        ),
        script(
            "a report of the plain loss",
            "for i in range(accum_steps):\n    loss = f(x)\n    shown += loss.item()\n"
            "    (loss / accum_steps).backward()\nshown /= accum_steps\noptimizer.step()\n",
        ),
        script(
            "by the updates of an epoch",
            "loss = loss / accum_steps\nloss.backward()\ntotal += loss.item()\n"
            "print(total / (len(train_dataloader) // accum_steps))\n",
        ),
        script(
            "multiplied again",
            "loss = loss / accum_steps\nloss.backward()\ntotal += loss.item() * accum_steps\n"
            "print(total / len(train_dataloader))\n",
        ),
        case(
            "no accumulation",
            config={"gradient_accumulation_steps": 1},
            files={"a.py": "model_engine.backward(loss / accumulation_steps)\n"},
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first place in each file; silent where one micro-batch makes an update."""
        if given_count(run, "gradient_accumulation_steps") == 1:
            return
        count = given_count(run, "gradient_accumulation_steps")
        over = regex(rf"{BY_NAME}|/\s*{count}(?![\d.])", re.I) if count else OVER_ACCUMULATION
        for message, evidence in first_in_each(run, partial(_twice, over=over)):
            yield self.finding(
                message,
                evidence=evidence,
                clues=clues(message, grad_accum_loss_scale=6.0),
                fix=Fix(summary="Divide the loss by the accumulation in one place only."),
            )


def _twice(code: Code, *, over: re.Pattern[str]) -> Iterator[tuple[str, list[Evidence]]]:
    divided = [a for a in code.assignments if LOSS.search(a.target) and over.search(_loss_of(a))]
    yield from _handed_on(code, divided, over)
    yield from _again(code, divided)
    yield from _reported(code, divided)


def _loss_of(assignment: Assignment) -> str:
    """The value, where it is no difference or sum with something else: ``loss = loss / n``."""
    text = written(assignment.value)
    return "" if assignment.target.endswith(("steps", "[]")) or "log" in assignment.target else text


def _handed_on(code: Code, divided: list[Assignment], over: re.Pattern[str]) -> Iterator[tuple[str, list[Evidence]]]:
    accelerate = any("accum" in key for call in code.named("Accelerator") for key in call.kwargs)
    for call in code.named("backward"):
        texts_given = [written(value) for value in call.args]
        before = [
            a
            for a in divided
            if a.order < call.order
            and a.scope == call.scope
            and a.target in texts_given
            and together(a.guards, call.guards)
        ]
        direct = any(over.search(text) for text in texts_given)
        owner = receiver(call)
        inside = any("accumulate(" in guard for guard in call.guards) or accelerate
        by_whom = "DeepSpeed" if ENGINE.search(owner) else "Accelerate" if "accelerator" in owner and inside else ""
        if by_whom and (before or direct):
            shown = [_shown(before[-1])] if before else []
            yield f"the loss is divided by the accumulation, and {by_whom} divides it again", [*shown, seen(call)]
    for assignment in code.assignments:
        method = last_part(assignment.scope)
        text = written(assignment.value)
        if "." not in assignment.scope or not over.search(text) or not LOSS.search(text):
            continue
        if method == "compute_loss" and not _told_not_to(code, assignment):
            yield "compute_loss divides by the accumulation, and the Trainer divides again", [_shown(assignment)]
        elif method == "training_step" and not code.named("manual_backward", "backward"):
            yield "training_step divides by the accumulation, and Lightning divides again", [_shown(assignment)]


def _told_not_to(code: Code, inside: Assignment) -> bool:
    """Whether the Trainer leaves the division to compute_loss, which then knows the number of items."""
    knows = any(a.target == "num_items_in_batch" and a.scope == inside.scope for a in code.assignments)
    return knows or any("model_accepts_loss_kwargs" in a.target for a in code.assignments)


def _again(code: Code, divided: list[Assignment]) -> Iterator[tuple[str, list[Evidence]]]:
    """``loss = loss / n`` twice in one function, with no new loss between."""
    itself = [a for a in divided if re.match(rf"\(?{re.escape(a.target)}\)? */", written(a.value))]
    for first in itself:
        for second in itself:
            same = second.target == first.target and second.scope == first.scope and second.order > first.order
            fresh = any(
                a.target == first.target and first.order < a.order < second.order and a not in itself
                for a in code.assignments
            )
            if same and not fresh and together(first.guards, second.guards):
                yield "the loss is divided by the accumulation in two places", [_shown(first), _shown(second)]


def _reported(code: Code, divided: list[Assignment]) -> Iterator[tuple[str, list[Evidence]]]:
    """A sum of divided losses that is divided by the number of batches before it is shown."""
    for item, loss, mean in _sums(code):
        first = next((a for a in divided if a.target == loss and a.order < item.order), None)
        if first is None or first.scope != item.scope:
            continue
        fresh = any(
            a.target == first.target and first.order < a.order < item.order and a not in divided
            for a in code.assignments
        )
        for text in () if fresh else texts(code):
            match = re.search(mean, text)
            if match is not None:
                yield (
                    "a sum of losses that were divided already is divided again for the report",
                    [
                        _shown(first),
                        Evidence(text=match.group(), source=item.source),
                    ],
                )


def _sums(code: Code) -> Iterator[tuple[Assignment | Call, str, str]]:
    """What adds a loss up, the name of that loss, and how its mean over batches would be written."""
    for total in code.assignments:
        name = rf"(?<![\w.]){re.escape(total.target)}(?:\.item\(\))?"
        summed = re.fullmatch(rf"{re.escape(total.target)} \+ \({ITEM}{ROWS}\)", written(total.value))
        if summed is not None:
            turns = [found[1] for loop in total.loops[-1:] if (found := re.match(r"for \(?(\w+), ", loop)) is not None]
            count = "|".join([COUNT, *(rf"{turn} \+ 1" for turn in turns)])
            yield total, summed[1], rf"{name} / \(?(?:{count})\)?(?! ?[/*])(?!\w)"
    for call in code.named("append"):
        name, kept = re.escape(receiver(call)), re.fullmatch(ITEM, written(call.args[0]) if call.args else "")
        if kept is not None:
            yield call, kept[1], rf"mean\((?:\w+\.\w+\()?{name}\)|sum\({name}\) / len\({name}\)(?! ?[/*])"


def _shown(assignment: Assignment) -> Evidence:
    return Evidence(text=f"{assignment.target} = {written(assignment.value)}", source=assignment.source)
