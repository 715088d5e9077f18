"""LOS022 written-losses-rise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from holter.checks.base import Check, Needs, case, clues
from holter.checks.configuration._outcomes import is_setting
from holter.checks.context import Compute, has_plain_loss, precision
from holter.checks.evaluation._written import bare
from holter.checks.look import brain_weights, is_off, known, written
from holter.checks.noted import approximate
from holter.checks.reported import results, scale_of
from holter.checks.shape import point
from holter.checks.symptoms import number
from holter.checks.verdicts import told_at
from holter.finding import Clue, Evidence, Finding, Severity
from holter.patterns import regex
from holter.quantity import ERROR, FIRST, GRADIENT, LAST, LOSS, SCORE, Quantity, is_result, quantity
from holter.run import Run, Value
from holter.stages import Stage

RATIO = 1.5
"""Last over first. Batches of one data set differ by less."""

AGAIN = 3.0
"""Last over lowest of a loss that began above both: as `RATIO`, and beyond what evaluations scatter."""

NATS = 0.5
"""And last minus first."""


ERROR_SHARE = 0.1
"""Rise of an error rate between 0 and 1 (ten points in per cent): beyond the scatter of evaluations."""

GRADIENT_RISE = 100.0
"""Last gradient norm over the smallest: what no batch makes by itself."""

FALLING, LOST = 3, 0.92
"""Evaluations of which each is worse than the one before, and what is left of the first score at the last."""

MANY_ROWS = 6
"""Rows; more are a course, which other checks judge by its shape."""


class WrittenLossesRise(Check):
    """What it looks for
        Two to four losses that somebody wrote down in order, or rows of one run by step or epoch, the last well above
        the best; or an error rate that rises in the same way.

    Why it hurts
        The run diverges: what the model knew is being lost.

    How to fix it
        Lower the rate three to ten times, warm up, and set max_grad_norm to 1.0. Log every step to see where the rise
        begins.

    When to ignore it
        When the numbers belong to different runs.

    Threshold
        `RATIO` and `NATS` together; `ERROR_SHARE` for error rates.

    Sources
        Goodfellow et al. 2016, section 8.2.
    """

    code = "LOS022"
    name = "written-losses-rise"
    title = "The losses written down rise"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(any_of=(("loss",), ("variants",), ("facts",)))
    bad = (
        case("two", files={"observed.yaml": "loss: [1.2, 9.8]\n"}),
        case("no clipping", files={"observed.yaml": "loss: [1.2, 3.1, 7.0]\n"}, config={"max_grad_norm": 0.0}),
        case("a gradient norm", variants=[{"step": 1, "grad_norm": 51.0}, {"step": 300, "grad_norm": 90000.0}]),
        case("by name", facts={"loss_step_400": 1.9, "loss_final": 4.2}),
        case(
            "with words",
            variants=[{"step": 0, "loss": 5}, {"step": 900, "loss": "4, up"}, {"step": 4000, "loss": 7}],
        ),
        case(
            "down and up", facts={"loss_start": 4, "loss_then": "about 1.5", "loss_after_38000_steps": "about 6, bad"}
        ),
        case("rows by step", variants=[{"step": 0, "loss": 0.6}, {"step": 50, "loss": 9.0}]),
        case("rows by epoch", variants=[{"epoch": 3, "valid_loss": 1.6}, {"epoch": 4, "valid_loss": 8.8}]),
        case("a score", variants=[{"epoch": n, "eval_accuracy": v} for n, v in enumerate([0.47, 0.43, 0.41])]),
        case(
            "from what was there",
            variants=[
                {"when": "pretrained", "f1": 0.8},
                {"when": "warmup", "epoch": 2, "f1": 0.78},
                {"when": "later", "f1": 0.6},
            ],
        ),
        case("an error rate", variants=[{"epoch": 5, "wer": 0.41}, {"epoch": 30, "wer": 0.66}]),
    )
    good = (
        case("a gradient norm twice as high", variants=[{"step": 1, "grad_norm": 51}, {"step": 300, "grad_norm": 99}]),
        case("by name, falling", facts={"loss_step_400": 3.9, "loss_final": 2.2}),
        case("down for good", facts={"loss_start": 4, "loss_then": "about 1.5", "loss_after_9k_steps": "about 1.6"}),
        case("falling", files={"observed.yaml": "loss: [2.2, 1.1]\n"}),
        case("noise", files={"observed.yaml": "loss: [1.9, 2.1]\n"}),
        case("a step of a run", series={"loss": [1.2, 9.8]}, steps=[10, 20]),
        case("rows that fall", variants=[{"step": 0, "loss": 3.1}, {"step": 50, "loss": 1.9}]),
        case("rows of two runs", variants=[{"lr": 1e-5, "step": 9, "loss": 0.6}, {"lr": 1e-3, "step": 9, "loss": 9.0}]),
        case("an error rate that scatters", variants=[{"epoch": 5, "wer": 0.41}, {"epoch": 9, "wer": 0.44}]),
        case("a policy", files={"observed.yaml": "loss: [0.1, 1.2]\nreward: [0.1, 0.4]\n"}),
    )
    not_enough = (case("no loss", series={"grad_norm": [2.0]}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Fires on the ends of the list, or on the first course among the rows that rises."""
        course = next((found for found in _courses(run) if _rises(found)), None)
        if course is None or not has_plain_loss(run):
            return
        first, last = _ends(course)
        yield self.finding(
            f"the {course.kind} goes from {first.value:g} to {last.value:g}",
            evidence=[first, last],
            clues=_score_clues(run) if course.kind == SCORE else [*_clues(run), *_gradient_clues(course)],
        )


@dataclass(frozen=True, kw_only=True)
class Course:
    """A quantity of one run in order.

    Attributes:
        kind: loss, or error.
        points: its values as evidence.
    """

    kind: str
    points: tuple[Evidence, ...]


def _courses(run: Run) -> Iterator[Course]:
    loss = run.series.get("loss")
    if loss is not None and bare(loss) and len(loss) > 1:
        yield Course(kind=LOSS, points=tuple(point(loss, i) for i in range(len(loss))))
    yield from _named(run)
    rows = run.variants
    if not 1 < len(rows) <= MANY_ROWS or not any(place in row for row in rows for place in ("step", "epoch")):
        return
    if any(is_setting(name, value) and not _is_event(name, value) for row in rows for name, value in row.items()):
        return
    for name in dict.fromkeys(name for row in rows for name in row):
        what = quantity(name)
        if what is not None and what.kind in (LOSS, ERROR, SCORE, GRADIENT) and is_result(name):
            yield Course(kind=what.kind, points=tuple(_cells(rows, name)))


def _named(run: Run) -> Iterator[Course]:
    """Losses of one split whose names tell the order: ``loss_step_600``, ``loss_final``."""
    found: dict[str, list[tuple[float, Evidence]]] = {}
    for what, shown in _told(run):
        place = what.place if what.place is not None else {FIRST: -1.0, LAST: math.inf}.get(what.moment)
        told = found.setdefault(f"{what.split} {what.base}", [])
        if place is None and told and what.rest and NEXT.issuperset(what.rest):
            place = math.nextafter(told[-1][0], math.inf)
        if place is not None and NEXT.issuperset(what.rest):
            told.append((place, shown))
    for points in found.values():
        places = [place for place, _ in points]
        if 1 < len(set(places)) == len(places):
            yield Course(kind=LOSS, points=tuple(shown for _, shown in sorted(points, key=lambda pair: pair[0])))


NEXT = frozenset({"then", "later", "next", "afterwards", "eventually", "soon"})
"""Words for the moment after the one that was told before."""


def _told(run: Run) -> Iterator[tuple[Quantity, Evidence]]:
    """Losses as they are written one after the other, in numbers or in words: ``loss_then: about 1.5``."""
    known = {result.name: result for result in results(run) if result.what.kind == LOSS}
    yield from ((result.what, result.evidence) for name, result in known.items() if name not in run.facts)
    for name, values in run.facts.items():
        what, amount = quantity(name), told_at(values[0].value)
        if name in known:
            yield known[name].what, known[name].evidence
        elif what is not None and what.kind == LOSS and amount is not None:
            text = f"{name} is {written(values[0].value)}"
            yield what, Evidence(text=text, source=values[0].source, value=amount)


EVENTS = frozenset({"event", "when", "at", "what", "stage", "phase", "quarter", "half", "part"})
"""Columns that say when, in words."""

START = regex(r"\bpre-?trained\b|\bbefore\b|\boriginal\b|\bcheckpoint\b|\bbase\b|\bzero-?shot\b|\bstart\b")
"""What a first row is called that shows the model before it was trained on."""


def _is_event(name: str, value: Value) -> bool:
    """Whether a column says when, by its name or by that in the file."""
    return name in EVENTS or (value.source.key or "").rpartition(".")[2] in EVENTS


def _cells(rows: list[dict[str, Value]], name: str) -> Iterator[Evidence]:
    for row in rows:
        value = approximate(row[name].value) if name in row else None
        if value is not None:
            place = next((f" at {key} {written(row[key].value)}" for key in ("step", "epoch") if key in row), "")
            yield Evidence(text=f"{name} is {value:g}{place}", source=row[name].source, value=value)


def _ends(course: Course) -> tuple[Evidence, Evidence]:
    """The best point and the last."""
    if course.kind == SCORE:
        return course.points[0], course.points[-1]
    return min(course.points, key=lambda shown: float(shown.value)), course.points[-1]


def _rises(course: Course) -> bool:
    values = [float(shown.value) for shown in course.points]
    if len(values) < 2 or not all(math.isfinite(v) and v > 0.0 for v in values):
        return False
    low, last = min(values), values[-1]
    if course.kind == SCORE:
        falls = all(early > late for early, late in pairwise(values))
        return falls and len(values) >= FALLING and last <= LOST * values[0]
    if course.kind == GRADIENT:
        return last >= GRADIENT_RISE * low and last >= max(values)
    if course.kind == ERROR:
        return last - low >= ERROR_SHARE * scale_of(*values)
    if last < max(values):  # it came down before
        return course.kind == LOSS and last >= AGAIN * low and last - low >= 1.0 and values[0] > low
    return last >= RATIO * low and last - low >= NATS


def _gradient_clues(course: Course) -> Iterator[Clue]:
    if course.kind == GRADIENT:
        yield from clues("the gradient grows a hundredfold and more, and nothing holds it", grad_clip_disabled=4.0)


def _score_clues(run: Run) -> Iterator[Clue]:
    if any(isinstance(v.value, str) and START.search(v.value.lower()) for v in run.variants[0].values()):
        yield from clues("it falls from what the model scored before", lr_too_high=2.0, weights_loaded_wrong=0.5)
    why = "the score falls from one evaluation to the next"
    yield from clues(why, overfitting=3.0, lr_too_high=3.0, template_mismatch=1.0, low_precision_weights=0.3)


def _clues(run: Run) -> Iterator[Clue]:
    why = "the loss rises from one number to the next"
    yield from clues(why, lr_too_high=3.0, grad_clip_disabled=1.5, warmup_missing=1.5, framework_bug=1.0)
    yield from clues(why, resume_state_lost=0.5)
    clip, warmup = known(run, "max_grad_norm"), known(run, "warmup_steps", "warmup_ratio")
    if clip is not None and not clip.value.is_default and (is_off(clip.plain) or number(clip.plain) == 0.0):
        yield from clues("clipping is off", grad_clip_disabled=2.5)
    if warmup is not None and not warmup.value.is_default and (is_off(warmup.plain) or number(warmup.plain) == 0.0):
        yield from clues("there is no warmup", warmup_missing=2.0)
    if brain_weights(run) is not None or precision(run).half_weights:
        yield from clues("the weights themselves are held in 16 bits", low_precision_weights=3.0)
    elif precision(run).compute is Compute.FP16:
        yield from clues("the run computes in fp16", fp16_overflow=0.5)
