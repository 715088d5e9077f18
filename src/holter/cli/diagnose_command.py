"""``holter diagnose``: what went wrong, from what a run left behind."""

from __future__ import annotations

import atexit
import gc
import io
import sys
from pathlib import Path

import click

FORMS = ("text", "json", "markdown", "html", "sarif")


@click.command("diagnose")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Something you know about the run.")
@click.option("--format", "form", type=click.Choice(FORMS), default="text", help="Form of the report.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead.")
def command(paths: tuple[Path, ...], settings: tuple[str, ...], form: str, output: Path | None) -> None:
    """Say what went wrong from what a run left behind: logs, configurations, scripts, notebooks, notes.

    Every readable file below PATHS is merged into one run. Needs no GPU and no torch.
    Exit 0 nothing wrong, 1 a fault was found or something is wrong that is not settled, 2 Holter could not do the job.
    """
    from holter.diagnosis import diagnose
    from holter.diagnosis.result import Verdict
    from holter.experiments.commands import with_paths
    from holter.readers import read
    from holter.readers.facts import parse_setting
    from holter.reports import write

    atexit.register(gc.freeze)  # all goes with the process; Python would search it for cycles first, 40 ms long
    run = read(list(paths), settings=dict(parse_setting(text) for text in settings))
    diagnosis = with_paths(diagnose(run), paths)
    if output is None:
        write(diagnosis, run, form, sys.stdout)
    else:
        page = io.StringIO()
        write(diagnosis, run, form, page)
        _save(output, page.getvalue())
    sys.exit(0 if diagnosis.verdict is Verdict.HEALTHY else 1)


def _save(path: Path, text: str) -> None:
    from holter.errors import ConfigError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            "could not write the report",
            where=str(path),
            why=error.strerror or str(error),
            do="give -o a file in a folder that exists and can be written",
        ) from error
