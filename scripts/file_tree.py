"""The commented file tree of CONTRIBUTING.md: one line a file or folder, taken from docstrings where there are any."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
COLUMN = 34

NOTES = {
    # path: what it is, for everything that has no docstring
    ".ci": "what runs on every change: `make check` and `make test`",
    ".gitignore": "what git leaves alone",
    "CHANGELOG.md": "what changed for users, with a part for checks by code",
    "CONTRIBUTING.md": "this file",
    "LICENSE": "Apache-2.0",
    "Makefile": "`make demo`, `make test`, `make check`, `make bench`: each does its own set-up",
    "README.md": "what Holter is, for a stranger",
    "benchmarks": "scripts with their numbers and the machine they came from",
    "constraints.txt": "the versions that `make` installs",
    "docs": "the guide; checks/, causes/, commands.md and names.md are made by scripts/make_docs.py",
    "examples": "whole projects that use Holter",
    "pyproject.toml": "the package, its extras, and the settings of ruff, mypy and pytest",
    "samples": "sample runs, made by scripts/make_samples.py",
    "scripts": "what makes the samples, the documentation, the picture and the demonstration",
    "scripts/known_reports.jsonl": "words and causes of public reports, a row each, with its source",
    "src": "the package",
    "src/holter/checks/needs.json": "what each check needs, made by scripts/make_needs.py",
    "src/holter/knowledge/known_reports.json": "what scripts/learn_words.py learnt from them",
    "src/holter/py.typed": "says that the package is typed",
    "src/holter/recipes/deepspeed_zero2.json": "DeepSpeed ZeRO-2 settings of the recipes",
    "src/holter/recipes/samples": "small generated samples, one a recipe",
    "src/holter/reports/diagnosis.schema.json": "the JSON Schema of `holter diagnose --format json`",
    "src/holter/reports/templates": "the HTML page and its style",
    "tests": "one folder a part of the package; golden files beside the tests that use them",
}
EXPANDED = ("src", "src/holter", "scripts")
"""Folders shown with their contents, besides every package below src/holter."""
FOLDED = ("src/holter/checks/", "src/holter/recipes/samples", "src/holter/reports/templates")
"""Folders whose path begins like this are one line."""


def tracked() -> list[str]:
    """Paths that git knows or would take, sorted; ignored ones are left out.

    Raises:
        OSError: git is not there.
        subprocess.CalledProcessError: this is no repository.
    """
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted({line for line in done.stdout.splitlines() if (ROOT / line).is_file()})


def tree() -> str:
    """The tree as text."""
    return "\n".join(_lines("", tracked())) + "\n"


def _lines(folder: str, paths: list[str]) -> Iterator[str]:
    depth = folder.count("/")
    for name in sorted({path[len(folder) :].split("/")[0] for path in paths if path.startswith(folder)}):
        path = folder + name
        if name in ("__init__.py", "__main__.py") and folder:
            continue
        is_folder = (ROOT / path).is_dir()
        shown = "  " * depth + name + ("/" if is_folder else "")
        yield f"{shown:<{COLUMN}}  {note(path)}".rstrip()
        if is_folder and _is_expanded(path):
            yield from _lines(f"{path}/", paths)


def _is_expanded(path: str) -> bool:
    inside = path.startswith("src/holter/") and not path.startswith(FOLDED)
    return path in EXPANDED or inside


def note(path: str) -> str:
    """What a file or folder is, in one line; empty where it has neither docstring nor note, which a test refuses."""
    if path in NOTES:
        return NOTES[path]
    source = ROOT / path / "__init__.py" if (ROOT / path).is_dir() else ROOT / path
    if source.suffix == ".py" and source.is_file():
        text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
        if text:
            return _first_sentence(text)
    if source.suffix in (".yaml", ".yml", ".toml"):
        first = source.read_text(encoding="utf-8").split("\n", 1)[0]
        if first.startswith("#"):
            return _first_sentence(first.lstrip("# "))
    return ""


def _first_sentence(text: str) -> str:
    line = " ".join(text.split("\n\n")[0].split())
    return line.split(". ")[0].rstrip(".")
