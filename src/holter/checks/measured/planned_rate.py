"""OPT101 planned-rate-never-reached."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage

LEAST = 0.5
"""Share of the set rate that the schedule should reach at some step; any warmup that fits the run reaches all of it."""


class PlannedRateNeverReached(Check):
    """The planned schedule never reaches its rate.

    What it looks for: the learning rate at every step of the planned run, from the scheduler itself.

    Why it hurts: a warmup longer than the run, or a schedule that starts at zero and stays there, trains at almost
    nothing.

    How to fix it: shorten warmup_steps, or plan more steps.

    When to ignore it: for a run that is only the start of a longer schedule.

    Threshold: `LEAST` of learning_rate.

    Sources: the scheduler of the installed transformers, stepped through the run.
    """

    code = "OPT101"
    name = "planned-rate-never-reached"
    title = "The planned schedule never reaches its rate"
    severity = Severity.WARNING
    stage = Stage.SCHEDULE
    needs = Needs(facts=("schedule.steps", "schedule.max_rate"), config=("learning_rate",))

    bad = (
        case(
            "warmup longer than the run",
            facts={"schedule.steps": 100, "schedule.max_rate": 1e-6, "schedule.warmup_steps": 2000},
            config={"learning_rate": 1e-4},
        ),
        case("always zero", facts={"schedule.steps": 100, "schedule.max_rate": 0.0}, config={"learning_rate": 1e-4}),
    )
    good = (
        case(
            "reached",
            facts={"schedule.steps": 100, "schedule.max_rate": 1e-4, "schedule.warmup_steps": 10},
            config={"learning_rate": 1e-4},
        ),
        case(
            "almost all warmup",
            facts={"schedule.steps": 100, "schedule.max_rate": 9.9e-5, "schedule.warmup_steps": 99},
            config={"learning_rate": 1e-4},
        ),
    )
    not_enough = (case("no plan", config={"learning_rate": 1e-4}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        highest, wanted = number(run, "schedule.max_rate"), run.get("learning_rate")
        if highest is None or not isinstance(wanted, (int, float)) or wanted <= 0 or highest >= LEAST * wanted:
            return
        warmup, steps = number(run, "schedule.warmup_steps") or 0.0, number(run, "schedule.steps") or 0.0
        label = "lr-zero" if highest == 0 else "warmup-too-long" if warmup > steps else "scheduler-step-mismatch"
        yield self.finding(
            f"the rate reaches {highest:.3g} of {wanted:.3g} in {steps:.0f} steps, {warmup:.0f} of them warmup",
            evidence=[evidence(run, "schedule.max_rate"), evidence(run, "schedule.warmup_steps")],
            clues=[Clue(cause=label, bits=7.0, why="the schedule was stepped through")],
            basis=Basis.MEASURED,
        )
