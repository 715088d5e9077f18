"""The command line: one file a sub-command, imported when it is called."""

from __future__ import annotations

import gc
import sys
import traceback
from importlib import import_module

import click

from holter import __version__
from holter.errors import HolterError

COMMANDS: dict[str, str] = {
    # command: one line of help; the module of the same name below holter.cli holds `command`
    "diagnose": "Say what went wrong from what a run left behind.",
    "check": "Measure a set-up before it trains.",
    "explain": "Print the manual page of a check or a cause.",
    "list": "List the checks and the causes.",
    "train": "Fine-tune with a recipe that is stable by default.",
    "compare": "List the real differences of a run that works and one that does not.",
    "bisect": "Prove by replays which differences carry the symptom.",
    "try": "Test one hypothesis: predicted first, then replayed.",
    "ledger": "Show all hypotheses about a run, refuted ones included.",
    "fix": "Show, or write, the change that the diagnosis calls for.",
    "replay": "Replay the failing step that a guard saved, as it was or with a setting changed.",
    "verify": "Compare a run with the fix with what the fix predicted.",
    "report": "Gather everything about a run on one page.",
    "demo": "See the whole way on a small model: about a minute on a CPU.",
}


OBJECTS_A_COLLECTION = 100_000
"""New objects between two collections. Python's 700 makes loading alone collect two hundred times, for nothing: what
is loaded stays. That took a seventh of the time of a small diagnosis, which makes 40,000 to 70,000 objects."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"holter.cli.{cmd_name.replace('-', '_')}_command")
        found: click.Command = module.command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="holter")
def group() -> None:
    """The Holter monitor of fine-tuning."""


def main() -> None:
    """Entry point. Exit 0 nothing wrong, 1 a fault was found, 2 Holter could not do the job."""
    gc.set_threshold(OBJECTS_A_COLLECTION)
    try:
        group(standalone_mode=True)
    except HolterError as error:
        from holter.reports.clean import clean_text

        click.echo(clean_text(f"{type(error).__name__}: {error}"), err=True)
        sys.exit(2)
    except Exception:
        # Python would leave with 1 here, which is the code of a fault that was found in the run.
        traceback.print_exc()
        click.echo("Holter itself failed; this is a bug, please report it with the lines above.", err=True)
        sys.exit(2)
