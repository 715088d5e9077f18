"""LOS021 nothing-logged-yet."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import known, plain, written
from holter.checks.optimisation._rate import planned_steps
from holter.checks.symptoms import number
from holter.finding import Change, Evidence, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

TRAINER_DEFAULT = 500.0
"""`logging_steps` of the transformers Trainer, where nobody set it."""


class NothingLoggedYet(Check):
    """No training loss is shown, since the run is shorter than logging_steps.

    What it looks for: a run whose planned updates are fewer than logging_steps, with evaluations or a summary but no
    training loss; the table of a notebook then says "No log".

    Why it hurts: not at all; nothing is wrong with the training, it is only not shown.

    How to fix it: set logging_steps to about a fiftieth of the run.

    When to ignore it: always, unless the loss is wanted.

    Threshold: the length of the run against logging_steps (500 where nobody set it).

    Sources: transformers ``TrainingArguments.logging_steps``, ``NotebookProgressCallback``.
    """

    code = "LOS021"
    name = "nothing-logged-yet"
    title = "The run is shorter than logging_steps"
    severity = Severity.NOTE
    stage = Stage.LOG
    factor = "logging_steps"
    needs = Needs(any_of=(("logging_steps",), ("max_steps",), ("train_samples",), ("step",), ("global_step",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        every = known(run, "logging_steps")
        interval = number(every.plain) if every is not None else TRAINER_DEFAULT
        done = number(plain(run, "global_step")) or number(plain(run, "step")) or planned_steps(run)
        shown = run.series.get("loss")
        words = written(plain(run, "loss") if plain(run, "loss") is not None else "").lower()
        if interval is None or interval < 1 or (shown is not None and len(shown)) or done is None or done >= interval:
            return
        evaluated = "eval_loss" in run.series or "train_loss" in run.series or "no log" in words
        if not evaluated:
            return
        evidence = (
            [every.evidence] if every is not None else [Evidence(text=f"logging_steps is not given: {interval:g}")]
        )
        evidence.append(Evidence(text=f"the run has {done:g} updates"))
        yield self.finding(
            f"No training loss is shown: the run has {done:g} updates, and logging_steps is {interval:g}",
            evidence=evidence,
            clues=clues("the interval exceeds the steps", logging_interval=7.0),
            fix=_fix(done, every.value.source.file if every is not None else None, interval),
        )

    bad = [
        case("evaluated, not logged", config={"max_steps": 120}, series={"eval_loss": [1.2, 1.1]}),
        case("set too high", config={"max_steps": 120, "logging_steps": 200}, series={"train_loss": [1.2]}),
    ]
    good = [
        case("logged", config={"max_steps": 120, "logging_steps": 10}, series={"loss": [1.2], "eval_loss": [1.1]}),
        case("long enough", config={"max_steps": 5000, "logging_steps": 10}, series={"eval_loss": [1.1]}),
        case("nothing happened yet", config={"max_steps": 120}),
    ]
    not_enough = [case("length not known", series={"eval_loss": [1.1]})]


def _fix(done: float, file: str | None, interval: float) -> Fix:
    wanted = max(1, round(done / 50))
    return Fix(
        summary=f"set logging_steps to {wanted}",
        changes=(Change(key="logging_steps", old=interval, new=wanted, file=file),),
    )
