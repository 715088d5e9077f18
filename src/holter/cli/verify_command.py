"""``holter verify``: what the fix predicted against what came."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from holter.cli._trials import ENGINE, FORMAT, LIMIT, OUTPUT, STEPS, TARGET, given, make_engine, put, teller


@click.command("verify")
@click.argument("what", metavar="RUN")
@click.option("--after", metavar="NEWRUN", help="The run with the fix; without it the short trial is run here.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="The fix, when the trial is run here.")
@STEPS
@ENGINE
@LIMIT
@TARGET
@FORMAT
@OUTPUT
def command(
    what: str,
    after: str | None,
    settings: tuple[str, ...],
    steps: int,
    engine: str,
    time_limit: float,
    target: str | None,
    form: str,
    output: Path | None,
) -> None:
    """Compare a run with the fix with what the fix of RUN predicted.

    Exit 0 the predictions held, 1 one did not or none could be judged, 2 Holter could not do the job.
    """
    from dataclasses import asdict

    from holter.experiments.attempt import replay_fix
    from holter.experiments.ledger import VerdictWord
    from holter.experiments.targets import resolve, run_of
    from holter.experiments.verify import verify
    from holter.reports.blocks import View
    from holter.reports.clean import clean
    from holter.reports.experiments import verification

    if after is not None:
        before, new = run_of(what), run_of(after)
    else:
        before, new = replay_fix(
            resolve(what, builder=target),
            given(settings),
            engine=make_engine(engine, 1),
            steps=steps,
            time_limit=time_limit,
            told=teller(2),
        )
    found = verify(before, new)
    view = View(title="Holter verification", headline=found.sentence, sections=(verification(found),))
    put(clean(view), clean({"schema": "holter.verification/1", **asdict(found)}), form, output)
    sys.exit(0 if found.word is VerdictWord.CONFIRMED else 1)
