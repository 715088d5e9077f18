"""CFG019 worse-after-event."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from holter.checks.base import Check, Needs, case, clues
from holter.checks.configuration._outcomes import is_outcome
from holter.checks.look import adapters_on, written
from holter.checks.reported import results, scale_of
from holter.checks.symptoms import number
from holter.checks.verdicts import tells_bad
from holter.finding import Clue, Evidence, Finding, Severity
from holter.patterns import regex
from holter.quantity import AFTER, BEFORE, ERROR, LOSS, SCORE, TRAIN, Quantity, quantity
from holter.run import Run, Value
from holter.stages import Stage

LOSS_RATIO = 1.3
"""Loss after over loss before; with `LOSS_NATS`."""

LOSS_NATS = 0.2
SHARE = 0.1
"""Fall of a score between 0 and 1 (a tenth of a percentage scale): far beyond the noise of one evaluation."""

SIDE = regex(r"(?:^|[ _-])(before|after|pre|post)(?:$|[ _-])")
RESUMED = regex(r"resum|restart|continu|checkpoint")
LOADED = regex(r"re-?load|load|sav|merg|export|convert|restor|disk")
TRAINED = regex(r"train|tun|fit")
"""``after training`` is before whatever else is in the table."""

WHENS = (
    "when",
    "stage",
    "phase",
    "time",
    "point",
    "moment",
    "at",
    "state",
    "model",
    "setup",
    "run",
    "condition",
    "name",
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One number with what it was read before or after.

    Attributes:
        what: the quantity.
        kind: a loss, an error or a score.
        side: ``before`` or ``after``.
        event: the other words of the name, in lower case.
        value: the number.
        evidence: where it stands.
    """

    what: str
    kind: str
    side: str
    event: str
    value: float
    evidence: Evidence


class WorseAfterEvent(Check):
    """What it looks for
        The same loss or score written down before and after something (resuming, saving and loading, merging), and
        worse after it.

    Why it hurts
        What happened in between lost something: weights, a head, or the state of the optimizer.

    How to fix it
        Compare the names and sums of all tensors before and after. After resuming, compare the learning rate too.

    When to ignore it
        When the data differ between the two readings.

    Threshold
        A loss larger by `LOSS_RATIO` and `LOSS_NATS`, or a score lower by `SHARE`.

    Sources
        The difference of two measurements of one model.
    """

    code = "CFG019"
    name = "worse-after-event"
    title = "The result is worse after an event"
    severity = Severity.ERROR
    stage = Stage.LOG
    needs = Needs(any_of=(("facts",), ("variants",)))
    bad = (
        case("resumed", facts={"loss_before_resume": 1.2, "loss_after_resume": 2.3}),
        case("in training and after loading", facts={"accuracy_in_training": 0.9, "accuracy_after_loading": 0.5}),
        case(
            "loaded", variants=[{"when": "before saving", "accuracy": 0.9}, {"when": "after loading", "accuracy": 0.5}]
        ),
    )
    good = (
        case("trained", variants=[{"when": "before training", "loss": 3.0}, {"when": "after training", "loss": 1.0}]),
        case("the same", facts={"loss_before_resume": 1.2, "loss_after_resume": 1.21}),
        case("better", facts={"accuracy_before_training": 0.4, "accuracy_after_training": 0.9}),
    )
    not_enough = (case("a log", series={"loss": [2.0, 1.5]}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """One finding for the first pair."""
        readings = [*_from_facts(run), *_from_rows(run)]
        for before in (r for r in readings if r.side == "before"):
            for after in (r for r in readings if r.side == "after" and r.what == before.what):
                if _worse(before, after):
                    yield self.finding(
                        f"{before.what} goes from {before.value:g} to {after.value:g} after {after.event or 'it'}",
                        evidence=[before.evidence, after.evidence],
                        clues=_clues(run, f"{before.event} {after.event}"),
                    )
                    return


def _from_facts(run: Run) -> Iterator[Reading]:
    """Numbers with ``before`` and ``after`` in the name; one without either is from before what comes after."""
    for found in results(run):
        what = found.what
        plain = not what.rest and what.moment != AFTER
        if what.moment in (BEFORE, AFTER) or plain or what.split == TRAIN:
            side = AFTER if what.moment == AFTER else BEFORE
            yield from _reading(what, side, what.condition, found.name, found.value, found.evidence)


def _from_rows(run: Run) -> Iterator[Reading]:
    for row in run.variants:
        when = next((written(row[name].value).lower() for name in WHENS if name in row and _side(row[name])), "")
        if not when:
            continue
        side = _side_of(when)
        for name, value in row.items():
            what, amount = quantity(name), number(value.value)
            if isinstance(value.value, str) and is_outcome(name) and value.value.lower() != when:
                yield _words(value, side, SIDE.sub(" ", when))
            if what is not None and amount is not None:
                shown = f"{when}: {name}"
                evidence = Evidence(text=f"{shown} is {amount:g}", source=value.source, value=amount)
                yield from _reading(what, side, SIDE.sub(" ", when), shown, amount, evidence)


def _words(value: Value, side: str, event: str) -> Reading:
    """A result in words as a score: 0 for a bad one, 1 for any other."""
    bad = tells_bad(str(value.value))
    evidence = Evidence(text=str(value.value), source=value.source)
    return Reading(what="result", kind=SCORE, side=side, event=event, value=0.0 if bad else 1.0, evidence=evidence)


def _side(value: Value) -> bool:
    return isinstance(value.value, str) and bool(_side_of(value.value.lower()))


def _side_of(when: str) -> str:
    """Before or after the event, empty where the words tell neither; loading and resuming come after training."""
    match = SIDE.search(when)
    event = LOADED.search(when) or RESUMED.search(when)
    if match is not None and (event or not TRAINED.search(when)):
        return {"pre": BEFORE, "post": AFTER}.get(match[1], match[1])
    if event:
        return AFTER
    return BEFORE if TRAINED.search(when) else ""


def _reading(what: Quantity, side: str, event: str, shown: str, value: float, evidence: Evidence) -> Iterator[Reading]:
    if what.kind in (LOSS, ERROR, SCORE) and math.isfinite(value):
        words = " ".join(event.split())
        yield Reading(what=what.base, kind=what.kind, side=side, event=words, value=value, evidence=evidence)


def _worse(before: Reading, after: Reading) -> bool:
    if before.kind == LOSS:
        return after.value >= LOSS_RATIO * before.value and after.value - before.value >= LOSS_NATS
    fall = before.value - after.value if before.kind == SCORE else after.value - before.value
    return fall >= SHARE * scale_of(before.value, after.value)


def _clues(run: Run, event: str) -> Iterator[Clue]:
    if RESUMED.search(event):
        why = "the result is worse after the run was taken up again"
        yield from clues(why, resume_state_lost=5.0, weights_loaded_wrong=1.5, head_not_trained_or_saved=1.0)
    elif LOADED.search(event):
        more = 1.0 if adapters_on(run) is not None else 0.0
        why = "the result is worse after saving and loading"
        yield from clues(
            why, head_not_trained_or_saved=4.0 + more, weights_loaded_wrong=4.0, embeddings_not_resized=0.5
        )
    else:
        yield from clues("the result is worse after the event", lr_too_high=1.5, framework_bug=0.5)
