"""``holter try``: one hypothesis, predicted before its trial, then confirmed, refuted or inconclusive."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from holter.cli._trials import ENGINE, FORMAT, JOBS, LIMIT, OUTPUT, STEPS, TARGET, given, make_engine, put, teller


@click.command("try")
@click.argument("what", metavar="RUN|RECIPE")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="What to change; several count as one change."
)
@click.option("--base", multiple=True, metavar="KEY=VALUE", help="A setting of both arms.")
@click.option("--expect", required=True, metavar="EXPR", help="The prediction; 'base.' is the unchanged replay.")
@click.option("--why", default="", help="The reason, for the ledger.")
@STEPS
@JOBS
@ENGINE
@LIMIT
@TARGET
@FORMAT
@OUTPUT
def command(
    what: str,
    settings: tuple[str, ...],
    base: tuple[str, ...],
    expect: str,
    why: str,
    steps: int,
    jobs: int,
    engine: str,
    time_limit: float,
    target: str | None,
    form: str,
    output: Path | None,
) -> None:
    """Test one hypothesis by replaying the same samples with one thing changed.

    The prediction goes into the ledger first. Exit 0 confirmed, 1 refuted or inconclusive, 2 it could not be tried.
    """
    from dataclasses import asdict

    from holter.experiments.attempt import attempt
    from holter.experiments.ledger import VerdictWord
    from holter.experiments.targets import resolve
    from holter.experiments.trial import TRIALS, TrialCache
    from holter.reports.blocks import View
    from holter.reports.clean import clean
    from holter.reports.experiments import ledger

    tried = resolve(what, builder=target).with_settings(given(base))
    try:
        made = attempt(
            tried,
            given(settings),
            expect,
            engine=make_engine(engine, jobs),
            steps=steps,
            why=why,
            time_limit=time_limit,
            cache=TrialCache(tried.folder / TRIALS),
            told=teller(3),
        )
    except KeyboardInterrupt:
        click.echo("stopped; the prediction stands in the ledger, and the same command goes on from here", err=True)
        sys.exit(130)
    verdict = made.entry.verdict
    word = verdict.word if verdict else VerdictWord.INCONCLUSIVE
    view = View(
        title="Holter trial",
        headline=f"{made.entry.hypothesis.text}: {word.value}.",
        summary=(f"{verdict.reason}.",) if verdict else (),
        sections=(ledger([made.entry]),),
    )
    put(clean(view), clean({"schema": "holter.trial/1", **asdict(made.entry)}), form, output)
    sys.exit(0 if word is VerdictWord.CONFIRMED else 1)
