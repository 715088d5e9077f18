"""``holter bisect``: the smallest set of differences that carries the symptom, proven by replays."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import click

from holter.cli._trials import ENGINE, FORMAT, JOBS, LIMIT, OUTPUT, STEPS, TARGET, given, make_engine, put, teller


@click.command("bisect")
@click.argument("good")
@click.argument("bad")
@click.option("--symptom", metavar="EXPR", help="Such as 'loss@1 > 40'; inferred from the replays when not given.")
@click.option("--set-good", multiple=True, metavar="KEY=VALUE", help="A setting of GOOD.")
@click.option("--set-bad", multiple=True, metavar="KEY=VALUE", help="A setting of BAD.")
@STEPS
@JOBS
@ENGINE
@LIMIT
@TARGET
@FORMAT
@OUTPUT
def command(
    good: str,
    bad: str,
    symptom: str | None,
    set_good: tuple[str, ...],
    set_bad: tuple[str, ...],
    steps: int,
    jobs: int,
    engine: str,
    time_limit: float,
    target: str | None,
    form: str,
    output: Path | None,
) -> None:
    """Replay GOOD and BAD on the same samples until the differences that carry the symptom are proven.

    GOOD and BAD are recipes, run folders, configuration files, or module:function with function(overrides) -> Trainer.
    Trials are kept, so a search that was stopped goes on where it was.
    Exit 1 culprits were found, 2 there is no verdict; the reason is printed.
    """
    from dataclasses import asdict

    from holter.experiments.bisect import bisect
    from holter.experiments.kept import keep
    from holter.experiments.targets import resolve
    from holter.experiments.trial import TRIALS, TrialCache
    from holter.reports.blocks import View
    from holter.reports.clean import clean
    from holter.reports.experiments import bisection

    left = resolve(good, builder=target).with_settings(given(set_good))
    right = resolve(bad, builder=target).with_settings(given(set_bad))
    differing = sum(left.settings.get(k) != right.settings.get(k) for k in {*left.settings, *right.settings})
    expected = 4 + math.ceil(math.log2(max(differing, 1)))
    try:
        found = bisect(
            left,
            right,
            engine=make_engine(engine, jobs),
            symptom=symptom,
            steps=steps,
            jobs=jobs,
            time_limit=time_limit,
            cache=TrialCache(right.folder / TRIALS),
            told=teller(expected),
        )
    except KeyboardInterrupt:
        click.echo("stopped; the trials so far are kept, and the same command goes on from here", err=True)
        sys.exit(130)
    keep(found, right.folder)
    names = " and ".join(found.culprits)
    view = View(
        title="Holter bisection",
        headline=f"{names} {'carries' if len(found.culprits) == 1 else 'together carry'} the symptom (confirmed).",
        summary=(f"{len(found.trials)} trials of {steps} steps over {differing} differences.",),
        sections=tuple(bisection(found)),
    )
    put(clean(view), clean({"schema": "holter.bisection/1", **asdict(found)}), form, output)
    sys.exit(1)
