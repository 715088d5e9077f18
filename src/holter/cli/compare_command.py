"""``holter compare``: what really differs between a run that works and one that does not."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from holter.cli._trials import FORMAT, OUTPUT, put


@click.command("compare")
@click.argument("good", type=str)
@click.argument("bad", type=str)
@FORMAT
@OUTPUT
def command(good: str, bad: str, form: str, output: Path | None) -> None:
    """List the real differences of GOOD and BAD: runs, folders, configurations, scripts or recipes.

    Spellings are normalised and defaults filled in first; what cannot have caused BAD's symptom is set aside.
    Exit 0 nothing that could matter differs, 1 something does, 2 Holter could not do the job.
    """
    from dataclasses import asdict

    from holter.compare import compare
    from holter.experiments.symptom import worst_finding
    from holter.experiments.targets import run_of
    from holter.reports.blocks import View
    from holter.reports.clean import clean
    from holter.reports.experiments import comparison

    left, right = run_of(good), run_of(bad)
    found = compare(left, right, symptom=worst_finding(right))
    standing = len(found.standing)
    headline = f"{standing} of {len(found.differences)} differences could matter."
    summary = (
        (f"BAD's first symptom: {found.symptom.message}",) if found.symptom else ("BAD shows no symptom by itself.",)
    )
    view = View(title="Holter comparison", headline=headline, summary=summary, sections=tuple(comparison(found)))
    data = {"schema": "holter.comparison/1", "differences": [asdict(d) for d in found.differences]}
    put(clean(view), clean(data), form, output)
    sys.exit(1 if standing else 0)
