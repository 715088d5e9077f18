"""LOS010 loss-jumps-at-restart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import has_plain_loss
from holter.checks.loss._course import jumps, steps_restart
from holter.checks.optimisation._rate import turning_points
from holter.checks.shape import at_step, point, shape, updates_before
from holter.finding import Evidence, Finding, Severity
from holter.run import EVENT_RESUME, Event, Run, Series
from holter.stages import Stage

RATIO = 2.0
"""Times the level before the jump. A resumed run continues at its loss; the scatter of a mean is a tenth or two."""

NATS = 0.3
"""And by this much."""

RATE_RISES = 0.15
"""Share of the peak by which the rate jumps up from one log line to the next; a schedule moves by a hundredth."""

AROUND = 8
FEWEST = 4
"""Log lines on either side of a resumption that are compared, and the fewest that will do."""

CLEARLY = 0.1
"""Rise of the level at a resumption: more than the whole scatter before it, and a tenth of the level."""

RATE_DROPS = 0.1
"""Share of the peak that is left of a rate after one log line, from above it: it warms up anew from there. Schedules
that step down by a tenth stay there, and those that reach zero come down to it."""

FROM = 0.2
"""Share of the peak that the rate had before, and that it climbs back to."""

ANEW, LEARNT, FALLS = 0.6, 0.5, 0.8
"""Level after a jump, against the first one; the level before it; and what is left of the jump's level at the end: all
that was learnt is gone, and is learnt once more, which a divergence does not do."""

MORE = 8
"""Log lines before the jump and after it by which such a course is known."""

NEARBY = 5
"""Log lines between a restart and the jump that belongs to it."""


class LossJumpsAtRestart(Check):
    """The loss leaps where the run was resumed, or where its learning rate starts anew.

    What it looks for: a loss that doubles from one line to the next and stays up, at a point where the step number
    falls back, the log speaks of a checkpoint, or the learning rate jumps up again; or one leap back to the level of
    the first steps, from where the loss falls once more.

    Why it hurts: a run that goes on from a checkpoint with its optimizer, scheduler and data position keeps its loss.
    A leap says that one of them was lost, or that other data follow.

    How to fix it: resume with trainer.train(resume_from_checkpoint=...) from a folder that holds optimizer.pt,
    scheduler.pt and, under fp16, scaler.pt; do not load the weights alone.

    When to ignore it: when a new stage with other data starts on purpose.

    Threshold: `RATIO` and `NATS` for the loss, `RATE_RISES` for the rate; `ANEW`, `LEARNT` and `FALLS` without a mark.

    Sources: transformers ``Trainer._load_optimizer_and_scheduler``; torch "Saving and loading a general checkpoint".
    """

    code = "LOS010"
    name = "loss-jumps-at-restart"
    title = "The loss leaps where the run starts anew"
    severity = Severity.WARNING
    stage = Stage.RESUME
    needs = Needs(series={"loss": 5})

    def detect(self, run: Run) -> Iterator[Finding]:
        loss = run.series["loss"]
        if not has_plain_loss(run) or shape(loss).nonfinite or shape(loss).high >= 1000.0:
            return
        leaps = jumps(loss, ratio=RATIO, nats=NATS)
        restarts = _restarts(run, loss)
        hit = [(leap, why) for leap in leaps for at, why in restarts if 0 <= leap - at <= NEARBY]
        hit = hit or [(at, why) for at, why in (*_resumed(run, loss), *_warms_anew(run, loss)) if _rises_at(loss, at)]
        hit = hit or list(_learnt_anew(loss, leaps))
        if not hit:
            return
        leap, why = hit[0]
        times = "once" if len(hit) == 1 else f"{len({i for i, _ in hit})} times"
        yield self.finding(
            f"The loss leaps from {loss[leap - 1]:.4g} to {loss[leap]:.4g} ({times}) where {why.text}",
            evidence=[point(loss, leap - 1, "just before"), point(loss, leap), why],
            step=updates_before(loss, leap),
            clues=clues("the loss does not continue where it stopped", resume_state_lost=5.0, lr_too_high=0.5),
        )

    bad = [
        case("the step number falls back", series={"loss": [2.0, 1.0, 0.5, 2.1, 2.0, 1.9, 1.8]},
             steps=[100, 200, 300, 200, 300, 400, 500]),
        case("the rate starts anew", series={"loss": [2.0, 1.0, 0.5, 0.2, 0.1, 2.1, 2.0, 1.9, 1.8],
                                             "learning_rate": [9e-5, 7e-5, 5e-5, 3e-5, 1e-5, 9e-5, 7e-5, 5e-5, 3e-5]}),
        case("five lines", files={"log.txt": "".join(
            f"{{'loss': {v}, 'step': {n * 50}}}\n" + "Resuming training from checkpoint out/checkpoint-150\n" * (n == 3)
            for n, v in enumerate([2.0, 1.4, 1.1, 2.5, 2.2], 1))}),
        case("a log without steps", files={"log.txt": "".join(
            f"{{'loss': {v}, 'epoch': {n / 10}}}\n" + "Resuming training from checkpoint-400\n" * (n == 5)
            for n, v in enumerate([2.0, 1.2, 0.8, 0.6, 0.5, 1.9, 1.7, 1.6], 1))}),
        case("learnt once more", series={
            "loss": [2.3, 2.2, 2.0, 1.7, 1.4, 1.1, 0.9, 0.8, 0.7, 0.65, 0.6, 0.6,
                     2.1, 2.0, 1.8, 1.6, 1.4, 1.2, 1.1, 1.0, 0.9, 0.9, 0.8, 0.8]}),
        case("another warmup", series={
            "loss": [2.0, 1.22, 1.21, 1.2, 1.22, 1.21, 1.2, 1.21, 1.22, 1.55, 1.5, 1.49, 1.48, 1.47],
            "learning_rate": [1e-5, 2e-5, 2e-5, 2e-5, 1.9e-5, 1.8e-5, 1.7e-5, 1.5e-5, 1.3e-5, 2e-7, 4e-6, 8e-6, 1e-5,
                              9e-6]}),
        case("by half, at a resumption", files={"log.txt": "".join(
            f"{{'loss': {v}, 'epoch': {n / 10}}}\n" + "Resuming training from checkpoint-600\n" * (n == 6)
            for n, v in enumerate([1.7, 1.65, 1.68, 1.63, 1.66, 1.62, 2.5, 2.47, 2.52, 2.46, 2.48], 1))}),
    ]  # fmt: skip
    good = [
        case("within the scatter, at a resumption", files={"log.txt": "".join(
            f"{{'loss': {v}, 'epoch': {n / 10}}}\n" + "Resuming training from checkpoint-600\n" * (n == 6)
            for n, v in enumerate([1.7, 1.45, 1.88, 1.63, 1.46, 1.62, 1.9, 1.77, 1.82, 1.56, 1.78], 1))}),
        case("continues", series={"loss": [2.0, 1.0, 0.5, 0.5, 0.4, 0.4, 0.4]},
             steps=[100, 200, 300, 200, 300, 400, 500]),
        case("two stages of data", series={"loss": [2.0, 1.8, 1.6, 1.5] * 2 + [1.4] * 6 + [3.0, 2.9] * 8}),
        case("a spike without a restart", series={"loss": [2.0, 1.0, 0.5, 3.0, 0.5, 0.4, 0.3]}),
        case("another warmup, same level", series={
            "loss": [2.0, 1.22, 1.21, 1.2, 1.22, 1.21, 1.2, 1.21, 1.22, 1.25, 1.21, 1.2, 1.2, 1.19],
            "learning_rate": [1e-5, 2e-5, 2e-5, 2e-5, 1.9e-5, 1.8e-5, 1.7e-5, 1.5e-5, 1.3e-5, 2e-7, 4e-6, 8e-6, 1e-5,
                              9e-6]}),
        case("restarts of a cosine", series={"loss": [2.0, 1.5, 1.2, 1.1, 1.0, 1.1, 1.0, 0.9, 0.8],
                                             "learning_rate": [9e-5, 7e-5, 5e-5, 3e-5, 1e-5, 9e-5, 7e-5, 5e-5, 3e-5]}),
    ]  # fmt: skip
    not_enough = [case("a short log", series={"loss": [2.0, 0.5, 2.1]})]


def _resumed(run: Run, loss: Series) -> list[tuple[int, Evidence]]:
    """Points at which the log itself says that the run goes on from a checkpoint, and its steps go on, too."""
    again, found = steps_restart(loss), []
    for event in run.events_of(EVENT_RESUME):
        index = _index_after(loss, event)
        if index is not None and not again and not _epochs_fall(loss, index):
            found.append((index, Evidence(text="the run was resumed", source=event.source, step=event.step)))
    return found


def _warms_anew(run: Run, loss: Series) -> Iterator[tuple[int, Evidence]]:
    """Points at which the rate drops from one line to the next and climbs again: another warmup has begun."""
    rate = run.series.get("learning_rate")
    if rate is None or len(rate) != len(loss) or not shape(rate).bins or steps_restart(rate):
        return
    high = shape(rate).high
    for at in range(1, len(rate)):
        dropped = rate[at - 1] >= FROM * high and rate[at] <= RATE_DROPS * high
        if dropped and max(rate.values[at:]) >= FROM * high:
            text = f"the learning rate drops from {rate[at - 1]:.3g} to {rate[at]:.3g} and warms up anew"
            yield at, Evidence(text=text, source=rate.place(at), step=rate.step(at))


def _learnt_anew(loss: Series, leaps: list[int]) -> Iterator[tuple[int, Evidence]]:
    """A single leap back to the level of the beginning, from where the loss falls once more."""
    if len(leaps) != 1 or steps_restart(loss) or len(loss) < 3 * MORE:
        return
    at, values = leaps[0], list(loss)
    if min(at, len(values) - at) < MORE or values[0] <= 0.0:
        return
    first, before, after, end = (
        median(part) for part in (values[:3], values[at - MORE : at], values[at : at + 3], values[-3:])
    )
    if before <= LEARNT * first and after >= ANEW * first and end <= FALLS * after and not _epochs_fall(loss, at):
        text = "it is back at the level of the first steps, and is learnt anew"
        yield at, Evidence(text=text, source=loss.place(at), step=loss.step(at))


def _epochs_fall(loss: Series, index: int) -> bool:
    return index > 0 and loss.epochs[index] < loss.epochs[index - 1]


def _rises_at(loss: Series, at: int) -> bool:
    """Whether the level rises there by more than the scatter on either side, for as long as is seen."""
    before, after = list(loss)[max(0, at - AROUND) : at], list(loss)[at : at + AROUND]
    if min(len(before), len(after)) < FEWEST:
        return False
    scatter, rise = max(before) - min(before), median(after) - median(before)
    return min(after) > max(before) and rise > scatter and rise > CLEARLY * median(before)


def _restarts(run: Run, loss: Series) -> list[tuple[int, Evidence]]:
    """Index in the loss, and what says that the run starts anew there."""
    found = [(i, Evidence(text="the step number falls back", source=loss.place(i))) for i in steps_restart(loss)]
    for event in run.events_of(EVENT_RESUME):
        index = _index_after(loss, event)
        if index is not None:
            found.append((index, Evidence(text="the run was resumed", source=event.source, step=event.step)))
    rate = run.series.get("learning_rate")
    if rate is None or not shape(rate).bins or steps_restart(rate):
        return found
    for turn in turning_points(rate, RATE_RISES):
        step = rate.steps[turn]
        index = turn if len(rate) == len(loss) else _index_of(loss, None if math.isnan(step) else int(step))
        if index is not None and at_step(rate, step) < shape(rate).high:
            text = f"the learning rate jumps up again after {rate[turn]:.3g}"
            found.append((index, Evidence(text=text, source=rate.place(turn), step=rate.step(turn))))
    return found


def _index_after(loss: Series, event: Event) -> int | None:
    """The first point below the event's line in the same file, or, in another, the first one at its step."""
    if event.source.file != loss.source.file or event.source.line is None:
        return _index_of(loss, event.step)
    return next((i for i, line in enumerate(loss.lines) if line > (event.source.line or 0)), None)


def _index_of(loss: Series, step: int | None) -> int | None:
    if step is None:
        return None
    return next((i for i, s in enumerate(loss.steps) if s >= step), None)
