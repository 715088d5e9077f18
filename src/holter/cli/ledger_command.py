"""``holter ledger``: every hypothesis about a run with its prediction and what came out."""

from __future__ import annotations

from pathlib import Path

import click

from holter.cli._trials import FORMAT, OUTPUT, TARGET, put


@click.command("ledger")
@click.argument("what", metavar="RUN|RECIPE")
@TARGET
@FORMAT
@OUTPUT
def command(what: str, target: str | None, form: str, output: Path | None) -> None:
    """Show all hypotheses, refuted ones included: predicted, observed, verdict."""
    from dataclasses import asdict

    from holter.experiments.ledger import Ledger
    from holter.experiments.targets import ledger_folder
    from holter.reports.blocks import View
    from holter.reports.clean import clean
    from holter.reports.experiments import ledger

    entries = Ledger(ledger_folder(what, builder=target)).entries()
    headline = f"{len(entries)} {'hypothesis' if len(entries) == 1 else 'hypotheses'}."
    view = View(title="Holter ledger", headline=headline, sections=(ledger(entries),))
    data = {"schema": "holter.ledger/1", "entries": [asdict(e) for e in entries]}
    put(clean(view), clean(data), form, output)
