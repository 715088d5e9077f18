"""``holter list``: all checks and causes."""

from __future__ import annotations

import sys

import click


@click.command("list")
@click.option("--checks", "wanted", flag_value="checks", help="Only the checks.")
@click.option("--causes", "wanted", flag_value="causes", help="Only the causes.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "markdown", "json")),
    default="text",
    show_default=True,
    help="How the list is written.",
)
def command(wanted: str | None, form: str) -> None:
    """List the checks and the causes."""
    from holter.reports import write_view
    from holter.reports.catalogue import as_data, as_view
    from holter.reports.json_report import dumps

    kinds = (wanted,) if wanted else ("checks", "causes")
    if form == "json":
        click.echo(dumps(as_data(kinds)), nl=False)
    else:
        write_view(as_view(kinds), form, sys.stdout)
