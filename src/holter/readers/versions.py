"""Lines that pin or bound the version of a package."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holter.patterns import regex
from holter.readers.base import Sample
from holter.readers.documents import add_faults, add_version
from holter.readers.tree import Node, Tree, flatten
from holter.readers.yaml_tree import read_yaml
from holter.run import Authority, Run, Value
from holter.secrets import mask

PIN = regex(r"^\s*([A-Za-z][\w.\-]*)(?:\[[^\]]*\])?\s*===?\s*([\w.+!\-]+)\s*(?:[;#@].*)?$")
_CONDA_PIN = regex(r"^\s*(?:[\w\-]+::)?([A-Za-z][\w.\-]*)\s*=+\s*(\d[\w.+!]*)(?:=\S+)?\s*$")
_RANGE = regex(r"^\s*([A-Za-z][\w.\-]*)(?:\[[^\]]*\])?\s*((?:[<>~!]=?|===?)[^;#]+)")
_COLUMNS = regex(r"^([A-Za-z][\w.\-]*)\s+(\d+(?:\.\w+)+\S*)(?:\s+\S+)*\s*$")


def add_conda(run: Run, text: str, sample: Sample) -> None:
    """Add the pins of a conda environment."""
    tree = read_yaml(text)
    for document in tree.documents:
        _conda(run, document, sample)
    add_faults(run, tree, sample.source())


def add_requirement(run: Run, line: str, sample: Sample, number: int) -> bool:
    """Add what one line of a requirements file says; whether it was one."""
    if line.lstrip().startswith(("#", "-")) or not line.strip():
        return False
    template = Value(value="", source=sample.source(line=number or None), raw=mask(line.strip()))
    pinned = PIN.match(line) or _COLUMNS.match(line)
    if pinned is not None and "*" not in line:
        add_version(run, pinned.group(1), pinned.group(2), template)
        return True
    if ranged := _RANGE.match(line):
        package = ranged.group(1).lower().replace("_", "-")
        run.add_fact(
            f"requires.{package}",
            Value(value=ranged.group(2).strip(), source=template.source, raw=template.raw, authority=Authority.CONFIG),
        )
        return True
    return False


def _conda(run: Run, document: Node, sample: Sample) -> None:
    for entry in flatten(document):
        if not entry.key.startswith("dependencies"):
            continue
        for text in entry.value if isinstance(entry.value, list) else [entry.value]:
            if not isinstance(text, str):
                continue
            if match := _CONDA_PIN.match(text):
                source = sample.source(line=entry.line or None)
                add_version(run, match.group(1), match.group(2), Value(value="", source=source, raw=text))
            else:
                add_requirement(run, text, sample, entry.line)


def add_pyproject(run: Run, tree: Tree, sample: Sample) -> None:
    """Pins of ``project.dependencies`` and its extras, and of Poetry's table."""
    for document in tree.documents:
        for entry in flatten(document):
            if re.match(r"(project\.(optional-)?dependencies|dependency-groups)", entry.key):
                _lines(run, entry.value if isinstance(entry.value, list) else [entry.value], sample, entry.line)
            elif match := re.match(r"tool\.poetry\.(?:group\.\w+\.)?dependencies\.([\w\-]+)$", entry.key):
                exact = isinstance(entry.value, str) and re.fullmatch(r"=?=?\d[\w.+]*", entry.value)
                sign = "==" if exact else ""
                _lines(run, [f"{match.group(1)}{sign}{str(entry.value).lstrip('=')}"], sample, entry.line)
    add_faults(run, tree, sample.source())


def _lines(run: Run, lines: Iterable[object], sample: Sample, number: int) -> None:
    for line in lines:
        if isinstance(line, str):
            add_requirement(run, line.replace("^", "~="), sample, number)
