"""``holter verify``: what the fix predicted against what came."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from holter.cli._trials import ENGINE, FORMAT, LIMIT, OUTPUT, STEPS, TARGET, given, make_engine, put, teller


@click.command("verify")
@click.argument("what", metavar="RUN")
@click.option("--after", metavar="NEWRUN", help="The run with the fix; without it the short trial is run here.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="The fix; by default the diagnosis'.")
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
            given(settings) or _fix_of(what),
            engine=make_engine(engine, 1),
            steps=steps,
            time_limit=time_limit,
            told=teller(2),
        )
    found = verify(before, new)
    view = View(title="Holter verification", headline=found.sentence, sections=(verification(found),))
    put(clean(view), clean({"schema": "holter.verification/1", **asdict(found)}), form, output)
    sys.exit(0 if found.word is VerdictWord.CONFIRMED else 1)


def _fix_of(what: str) -> dict[str, Any]:
    """The changes that the diagnosis of a run calls for."""
    from holter.diagnosis import diagnose
    from holter.errors import ConfigError
    from holter.experiments.targets import run_of
    from holter.fixes.plan import TRAINER

    causes = diagnose(run_of(what)).causes
    fix = causes[0].fix if causes else None
    changes = {change.key.removeprefix(TRAINER): change.new for change in fix.changes} if fix else {}
    if not changes:
        raise ConfigError(
            "there is no fix to verify",
            where=what,
            why="the diagnosis names no setting to change",
            do="name the fix with --set, or the run that has it with --after",
        )
    return changes
