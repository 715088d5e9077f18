"""``holter demo``: the whole way, from a run that went wrong to a verified fix."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("holter-demo"),
    show_default=True,
    help="Where the script, the runs and the report go; an earlier demo there is replaced.",
)
def command(output: Path) -> None:
    """Train a small model with a real fault, name it, prove it, fix it and verify the fix; about a minute on a CPU."""
    import importlib.util
    import time

    from holter.errors import MissingExtra

    for package in ("torch", "transformers", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("the demo trains a model", why=f"{package} is missing", do="pip install 'holter[train]'")
    from holter.demo import tell

    started = time.monotonic()

    def told(line: str) -> None:
        click.echo(f"   [{time.monotonic() - started:4.0f} s] {line} ...", err=True)

    for number, chapter in enumerate(tell(output, told), start=1):
        click.echo(f"\n{number}. {chapter.title}\n   {chapter.text}")
        for line in chapter.detail.splitlines():
            click.echo(f"      {line}")
    click.echo(f"\n(all of it in {time.monotonic() - started:.0f} seconds)")
