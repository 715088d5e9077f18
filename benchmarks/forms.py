"""Whether the same report, written down in another form, gets the same answer.

    python benchmarks/forms.py [--cases DIR] [--split dev|held|all] [--lost]

Each case of `cases.py` that is answered right is written down anew, one change at a time: its table of runs as CSV, its
notes as an issue, its log pasted in Markdown, its names in camel case. The answer must still be right. What is read is
what people really leave behind, and no two of them write it alike.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from cases import BESIDE, HIDDEN, PROCESSES, Answer, Case, ask, load

Form = Callable[[Path], None]
FACTS = ("observed.yaml", "facts.yaml", "probe.yaml")


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _write(path: Path, tree: Any) -> None:
    path.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _instead(path: Path, name: str, text: str) -> None:
    path.with_name(name).write_text(text, encoding="utf-8")
    path.unlink()


def _rows(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    tree = _read(path)
    if not isinstance(tree, list) or not all(isinstance(row, dict) for row in tree):
        return [], []
    return list(dict.fromkeys(str(key) for row in tree for key in row)), tree


def runs_as_csv(path: Path) -> None:
    """A table of runs as CSV."""
    names, rows = _rows(path)
    if rows:
        with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, names)
            writer.writeheader()
            writer.writerows({name: "none" if value is None else value for name, value in row.items()} for row in rows)
        path.unlink()


def runs_as_markdown(path: Path) -> None:
    """A table of runs as a Markdown table."""
    names, rows = _rows(path)
    if rows:
        cells = [names, ["---"] * len(names), *([str(row.get(name, "")) for name in names] for row in rows)]
        _instead(path, "runs.md", "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n")


def runs_below_a_key(path: Path) -> None:
    """A list of runs below one more key."""
    _write(path, {"experiments": _read(path)})


def notes_as_issue(path: Path) -> None:
    """Notes as a list in an issue."""
    if isinstance(tree := _read(path), dict):
        lines = [f"- {str(key).replace('_', ' ')}: {_flat(value)}" for key, value in tree.items()]
        _instead(path, "issue.md", "# What I see\n\n" + "\n".join(lines) + "\n")


def notes_as_lines(path: Path) -> None:
    """Notes as lines of a text file."""
    if isinstance(tree := _read(path), dict):
        lines = [f"{str(key).replace('_', ' ')}: {_flat(value)}" for key, value in tree.items()]
        _instead(path, "notes.txt", "\n".join(lines) + "\n")


def pasted(path: Path) -> None:
    """A log pasted in Markdown."""
    text = path.read_text(encoding="utf-8", errors="replace")
    _instead(path, f"{path.stem}.md", f"The output is:\n\n```\n{text}\n```\n")


def below_a_key(path: Path) -> None:
    """Settings and notes below one more key."""
    if isinstance(tree := _read(path), dict):
        _write(path, {"results" if path.name in FACTS else "training": tree})


def as_json(path: Path) -> None:
    """YAML as JSON."""
    _instead(path, f"{path.stem}.json", json.dumps(_read(path), indent=1, default=str))


def in_camel_case(path: Path) -> None:
    """Names in camel case."""
    _write(path, _renamed(_read(path), lambda key: re.sub(r"_+([a-z])", lambda m: m[1].upper(), key)))


def as_headings(path: Path) -> None:
    """Names as people write headings."""
    _write(path, _renamed(_read(path), lambda key: key.replace("_", " ").capitalize()))


def in_capitals(path: Path) -> None:
    """Names in capitals."""
    _write(path, _renamed(_read(path), str.upper))


def with_a_prefix(path: Path) -> None:
    """Notes named as one's own."""
    if isinstance(tree := _read(path), dict):
        _write(path, {f"my_{key}": value for key, value in tree.items()})


def _flat(value: Any) -> str:
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else str(value)


def _renamed(tree: Any, rename: Callable[[str], str]) -> Any:
    """All names below a tree anew; those with a slash or a point are a tool's own, and stay."""
    if isinstance(tree, dict):
        return {
            (key if {"/", "."} & set(str(key)) else rename(str(key))): _renamed(v, rename) for key, v in tree.items()
        }
    return [_renamed(value, rename) for value in tree] if isinstance(tree, list) else tree


FORMS: Sequence[tuple[tuple[str, ...], Form]] = (
    (("runs.yaml",), runs_as_csv),
    (("runs.yaml",), runs_as_markdown),
    (("runs.yaml",), runs_below_a_key),
    (("observed.yaml",), notes_as_issue),
    (("observed.yaml",), notes_as_lines),
    (("log.txt", "error.txt"), pasted),
    (("config.yaml", *FACTS), below_a_key),
    (("config.yaml", "runs.yaml", *FACTS), as_json),
    (("config.yaml", "runs.yaml", *FACTS), in_camel_case),
    (("config.yaml", "runs.yaml", *FACTS), as_headings),
    (("config.yaml", "runs.yaml", *FACTS), in_capitals),
    (FACTS, with_a_prefix),
)


def retold(case: Case, names: Sequence[str], form: Form, scratch: Path) -> Case | None:
    """The case in another form; None where nothing in it has that form."""
    folder = scratch / case.folder.name
    shutil.copytree(case.folder, folder, ignore=shutil.ignore_patterns(*HIDDEN))
    before = _contents(folder)
    for name in names:
        if (folder / name).is_file():
            form(folder / name)
    return replace(case, folder=folder) if _contents(folder) != before else None


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def answers(right: Sequence[Case], names: Sequence[str], form: Form) -> list[Answer]:
    """What is said of the cases that can be told in a form."""
    with TemporaryDirectory() as scratch, ThreadPoolExecutor(PROCESSES) as pool:
        told = [found for case in right if (found := retold(case, names, form, Path(scratch))) is not None]
        return list(pool.map(lambda order: ask(order[1], order[0], True), enumerate(told)))


def table(right: Sequence[Case], lost: bool) -> Iterator[str]:
    """A line a form, and the cases that were lost, of the development split only."""
    yield f"{'form':44} {'failures kept':>14} {'healthy kept':>13}"
    for names, form in FORMS:
        found = answers(right, names, form)
        kept = [[a.right for a in found if (a.case.expect == "silent") is healthy] for healthy in (False, True)]
        scores = [f"{sum(some)}/{len(some)}" for some in kept]
        yield f"{(form.__doc__ or '').strip().rstrip('.'):44} {scores[0]:>14} {scores[1]:>13}"
        if lost:
            yield from (f"    {a.case.name}" for a in found if not a.right and not a.case.held_out)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, default=BESIDE)
    parser.add_argument("--split", choices=("dev", "held", "all"), default="all")
    parser.add_argument("--lost", action="store_true", help="list what was lost of the development split")
    options = parser.parse_args()
    cases = [c for c in load(options.cases) if options.split == "all" or c.held_out is (options.split == "held")]
    if not cases:
        sys.exit(f"no cases in {options.cases}; give the folder that holds one folder a case with --cases")
    with ThreadPoolExecutor(PROCESSES) as pool:
        first = list(pool.map(lambda order: ask(order[1], order[0], True), enumerate(cases)))
    right = [answer.case for answer in first if answer.right]
    print(f"{len(right)} of {len(cases)} cases are answered right as they are")
    for line in table(right, options.lost):
        print(line, flush=True)


if __name__ == "__main__":
    main()
