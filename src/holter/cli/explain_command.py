"""``holter explain``: the manual page of a check or a cause."""

from __future__ import annotations

import sys

import click


@click.command("explain")
@click.argument("name", metavar="CODE|CAUSE")
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "markdown", "html")),
    default="text",
    show_default=True,
    help="How the page is written.",
)
def command(name: str, form: str) -> None:
    """Print the manual page of a check (LOS001 or its name) or of a cause (fp16-overflow)."""
    from holter.errors import ConfigError
    from holter.reports import write_view
    from holter.reports.manual import nearest, page

    view = page(name)
    if view is None:
        alike = nearest(name)
        hint = f"did you mean {', '.join(alike)}? " if alike else ""
        raise ConfigError(
            f"there is no check and no cause called {name!r}",
            do=f"{hint}`holter list` prints all of them",
        )
    write_view(view, form, sys.stdout)
