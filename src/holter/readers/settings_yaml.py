"""YAML settings: Trainer arguments, Kedro ``conf/``, axolotl, LLaMA-Factory, torchtune, Accelerate and the like."""

from __future__ import annotations

import re

from holter.patterns import regex
from holter.readers.base import CERTAIN, LIKELY, Match, Sample
from holter.run import Run

NAME = "YAML settings"

_ENTRY = regex(r"^\s*(?:- )?[\"']?[A-Za-z_][\w.\-/ ]*[\"']?\s*:(?:\s|$)", re.M)


def sniff(sample: Sample) -> Match | None:
    """A file with a YAML suffix."""
    if sample.encoding is None or sample.suffix not in (".yaml", ".yml"):
        return None
    if _ENTRY.search(sample.text) or sample.text.lstrip().startswith(("{", "[", "---")):
        return Match(score=CERTAIN - 10, why="a YAML file with keys")
    return Match(score=LIKELY, why="has a YAML suffix")


def read(sample: Sample) -> Run:
    """All values by full key; references inside the file are resolved, anchors followed."""
    from holter.readers.documents import add_documents
    from holter.readers.interpolate import resolve_tree
    from holter.readers.yaml_tree import read_yaml

    run, tree = Run(), read_yaml(sample.read_text())
    tree.documents[:] = [resolve_tree(document) for document in tree.documents]
    add_documents(run, tree, sample.source())
    return run
