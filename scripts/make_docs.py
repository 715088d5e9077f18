"""Writes everything in the documentation that is made from the code.

Usage: python scripts/make_docs.py [--check]

Made are docs/checks, docs/causes, docs/commands.md and docs/names.md, and, in README.md and the other pages of docs/,
what stands below a `$ holter ...` line in a fenced block marked `console`; and src/holter/checks/needs.json, see
scripts/make_needs.py. With --check nothing is written; exit 1 says that something is out of date.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from file_tree import tree
from make_needs import table

from holter.checks.registry import NEEDS, all_checks
from holter.cli import COMMANDS, group
from holter.diagnosis.causes import FAMILIES
from holter.names import CONFIG, NAMES, SERIES, Name
from holter.reports import write_view
from holter.reports.blocks import View
from holter.reports.manual import cause_page, check_page
from holter.reports.markdown import escape

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = "<!-- Made by scripts/make_docs.py; edit the code it comes from instead. -->\n"
HELP_WIDTH = 90
CONSOLE = re.compile(r"^```console\n\$ (holter [^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

CHECK_FAMILIES = {
    "CFG": "Configuration",
    "DAT": "Data",
    "TOK": "Tokens, padding, templates",
    "LAB": "Labels and masks",
    "LOS": "The value of the loss",
    "MOD": "Model and adapters",
    "OPT": "Optimizer and schedule",
    "NUM": "Numbers and precision",
    "DIS": "Several devices",
    "EVL": "Evaluation",
    "SYS": "Libraries, speed, memory",
    "GRD": "What the guard saw",
    "LIK": "Likeness to public reports",
}


def pages() -> Iterator[tuple[Path, str]]:
    """Every file that is made as a whole."""
    yield NEEDS, table().decode()
    for check in all_checks():
        yield DOCS / "checks" / f"{check.code}.md", page(check_page(check))
    yield DOCS / "checks" / "README.md", checks_index()
    for causes in FAMILIES.values():
        for cause in causes:
            yield DOCS / "causes" / f"{cause.label}.md", page(cause_page(cause))
    yield DOCS / "causes" / "README.md", causes_index()
    yield DOCS / "commands.md", commands_page()
    yield DOCS / "names.md", names_page()


def page(view: View) -> str:
    """One page of the manual as Markdown."""
    stream = io.StringIO()
    write_view(view, "markdown", stream)
    return MADE + "\n" + stream.getvalue()


def checks_index() -> str:
    """All checks, family by family."""
    lines = [MADE, "# Checks", "", "A check looks at a run and says what it sees. Causes are weighed afterwards."]
    families: dict[str, list[str]] = {}
    for check in all_checks():
        row = f"| [{check.code}]({check.code}.md) | {check.severity.word} | {check.name} | {escape(check.title)} |"
        families.setdefault(check.code[:3], []).append(row)
    for family, rows in families.items():
        lines += ["", f"## {CHECK_FAMILIES.get(family, family)}", "", "| code | level | name | what it says |"]
        lines += ["|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def causes_index() -> str:
    """All causes, family by family."""
    lines = [MADE, "# Causes", "", "A cause is something a person can change. It acts at one stage of a training step."]
    for family, causes in FAMILIES.items():
        lines += ["", f"## {family[0].upper()}{family[1:]}", "", "| cause | acts at | definition |", "|---|---|---|"]
        lines += [f"| [{c.label}]({c.label}.md) | {c.stage.word} | {escape(c.definition)} |" for c in causes]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """The help of every command."""
    lines = [
        MADE,
        "# Commands",
        "",
        "Exit 0: nothing wrong. Exit 1: a fault was found. Exit 2: Holter could not do it.",
    ]
    for name, line in COMMANDS.items():
        lines += ["", f"## holter {name}", "", escape(line), "", "```text", help_text(name), "```"]
    return "\n".join(lines) + "\n"


def help_text(name: str) -> str:
    """What `holter NAME --help` prints, at a fixed width."""
    command: click.Command = import_module(f"holter.cli.{name.replace('-', '_')}_command").command
    parent = click.Context(group, info_name="holter", terminal_width=HELP_WIDTH, max_content_width=HELP_WIDTH)
    context = click.Context(command, info_name=name, parent=parent)
    return command.get_help(context).rstrip()


def names_page() -> str:
    """The table of names."""
    lines = [
        *(MADE, "# Names", ""),
        "One quantity or setting has one name, spelt as users of the transformers Trainer and PEFT write it.",
        "Other spellings are read and turned into it.",
    ]
    for kind, title in ((SERIES, "Logged quantities"), (CONFIG, "Settings")):
        lines += ["", f"## {title}", "", "| name | meaning | unit | also seen as |", "|---|---|---|---|"]
        lines += [names_row(row) for row in NAMES if row.kind == kind]
    return "\n".join(lines) + "\n"


def names_row(row: Name) -> str:
    """One row of the table of names."""
    spellings = ", ".join(f"`{spelling}`" for spelling in row.spellings)
    meaning = escape(row.meaning) + (f". Note: {escape(row.note)}" if row.note else "")
    return f"| `{row.name}` | {meaning} | {escape(row.unit)} | {spellings} |"


def commands_table() -> str:
    """The commands that there are, for the README."""
    rows = [f"| [`holter {name}`](docs/commands.md#holter-{name}) | {line} |" for name, line in COMMANDS.items()]
    return "\n".join(["| command | what it does |", "|---|---|", *rows]) + "\n"


def counts() -> str:
    """How much there is to know."""
    causes = sum(len(found) for found in FAMILIES.values())
    checks = len(list(all_checks()))
    return (
        f"Holter has {checks} [checks](docs/checks/README.md), which see symptoms and facts, "
        f"and knows {causes} [causes](docs/causes/README.md), which a person can change.\n"
    )


def file_tree() -> str:
    """The file tree, fenced."""
    return f"```text\n{tree()}```\n"


def further_pages() -> str:
    """Pages of docs/ that the guide's own list does not name, by their first heading."""
    guide = (DOCS / "README.md").read_text(encoding="utf-8").split("<!-- made: further pages -->")[0]
    lines = []
    for path in sorted(DOCS.glob("*.md")):
        if path.name != "README.md" and f"({path.name})" not in guide:
            title = path.read_text(encoding="utf-8").partition("# ")[2].split("\n")[0]
            lines.append(f"- [{title}]({path.name})\n")
    return "".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands_table,
    "counts": counts,
    "file tree": file_tree,
    "further pages": further_pages,
}
"""Name -> what stands between `<!-- made: NAME -->` and `<!-- end: NAME -->` in a page."""


def refreshed(text: str) -> str:
    """A hand-written page with the output of its `$ holter ...` lines and its made parts made anew."""
    for name, make in PARTS.items():
        pattern = re.compile(rf"(<!-- made: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        if pattern.search(text):
            made = make()
            text = pattern.sub(lambda match: f"{match[1]}{made}{match[2]}", text)  # noqa: B023 - used at once
    return CONSOLE.sub(lambda match: f"```console\n$ {match[1]}\n{output_of(match[1])}```", text)


def output_of(command: str) -> str:
    """What a command of ours prints, run in this process in a folder that holds the samples."""
    from click.testing import CliRunner

    words = shlex.split(command)[1:]
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "samples", Path(folder, "samples"))
        os.chdir(folder)
        try:
            result = CliRunner().invoke(group, words)
        finally:
            os.chdir(before)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code == 2:
        raise SystemExit(f"$ {command}\n{result.output}")
    return result.output


def written_pages() -> list[Path]:
    """Pages written by hand."""
    made = {path for path, _ in pages()}
    return sorted(p for p in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")) if p not in made)


def stale() -> dict[Path, str | None]:
    """Files that differ from what would be made, with what they should hold; None for one that should not be there."""
    wanted: dict[Path, str | None] = dict(pages())
    for folder in ("checks", "causes"):
        wanted.update({path: None for path in (DOCS / folder).glob("*.md") if path not in wanted})
    for path in written_pages():
        wanted[path] = refreshed(path.read_text(encoding="utf-8"))
    return {path: text for path, text in wanted.items() if text != read(path)}


def read(path: Path) -> str | None:
    """The text of a file, None where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something is out of date")
    check = parser.parse_args().check
    if not check:
        NEEDS.write_bytes(table())  # before the commands below are run, which read it
    found = stale()
    for path, text in sorted(found.items()):
        print(f"{'out of date' if check else 'wrote' if text is not None else 'removed'}: {path.relative_to(ROOT)}")
        if not check and text is None:
            path.unlink()
        elif not check and text is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
