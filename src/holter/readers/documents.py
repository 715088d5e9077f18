"""What settings files of all formats share: whose file it is, and how its tree becomes settings of a Run."""

from __future__ import annotations

from collections.abc import Iterator

from holter.names import config_name
from holter.patterns import regex
from holter.readers.base import at
from holter.readers.run_nodes import without_runs
from holter.readers.tree import Entry, Node, TooLarge, Tree, flatten, repeated
from holter.run import Authority, Gap, Run, Source, Value
from holter.secrets import mask_value
from holter.values import add

LIST_SHOWN = 5  # repeated keys named in one file; more of the same would drown the rest

_VERSIONS = regex(r"(?:^|\.)(?:versions?|packages|library_versions)\.([A-Za-z][\w.\-]*)$")
_AUTO = "auto"


def tool_of(node: Node) -> str | None:
    """Whose settings a document holds, told by keys that only that tool has; None for the transformers family."""
    keys = node.keys()
    if {"zero_optimization", "train_micro_batch_size_per_gpu"} & keys:
        return "deepspeed"
    if "compute_environment" in keys or {"distributed_type", "num_machines"} <= keys:
        return "accelerate"
    if "finetuning_type" in keys or {"cutoff_len", "template"} <= keys:
        return "llamafactory"
    if "peft_type" in keys:
        return "peft"
    return None


def knows(tree: Tree) -> int:
    """How many keys of the documents are known settings."""
    count = 0
    for document in tree.documents:
        tool = tool_of(document)
        try:
            count += sum(1 for entry in flatten(document) if config_name(entry.key, tool) is not None)
        except TooLarge:
            continue
    return count


def add_documents(
    run: Run, tree: Tree, place: Source, *, authority: Authority = Authority.CONFIG, tool: str | None = None
) -> None:
    """Add the settings of all documents, and gaps for what could not be read.

    Args:
        run: where to.
        tree: as parsed.
        place: the file; its line, if any, is that of the first line of the text, inside another document.
        authority: of the source.
        tool: see `holter.names.config_name`; told by the keys where it is None.
    """
    for document in tree.documents:
        try:
            document = without_runs(run, document, place)
            whose = tool or tool_of(document)
            for entry in entries(document):
                add_entry(run, entry, place, authority=authority, tool=whose)
        except TooLarge:
            run.gaps.append(too_large(place))
    add_faults(run, tree, place)


def entries(document: Node) -> Iterator[Entry]:
    """The values of one document; those that stand for a number of values too large raise `TooLarge` first."""
    yield from list(flatten(document))


def add_entry(run: Run, entry: Entry, place: Source, *, authority: Authority, tool: str | None = None) -> None:
    """Add one setting; private values are masked, versions are kept as written."""
    value, raw = mask_value(entry.key, entry.value, entry.raw)
    template = Value(value=value, source=at(place, entry.line, entry.written), raw=raw, authority=authority)
    if match := _VERSIONS.search(entry.key):
        add_version(run, match.group(1), raw or str(value), template)
    elif value == _AUTO and tool == "deepspeed":
        add(run, f"deepspeed.{entry.key}", value, template=template)
    elif entry.key:
        add(run, entry.key, value, template=template, tool=tool)


def add_version(run: Run, package: str, text: str, template: Value) -> None:
    """Add ``versions.<package>``, the text as written."""
    version = text.split("#")[0].strip().strip("'\"")
    name = package.lower().replace("_", "-")
    run.add_setting(
        f"versions.{name}", Value(value=version, source=template.source, raw=text, authority=template.authority)
    )


def add_faults(run: Run, tree: Tree, place: Source) -> None:
    """Gaps for what the parser could not take, and for keys given twice."""
    for line, what, why in tree.faults:
        run.gaps.append(Gap(source=at(place, line), what=what, why=why, do="the rest was read"))
    twice = [found for document in tree.documents for found in repeated(document)]
    for key, first, last in twice[:LIST_SHOWN]:
        run.gaps.append(_twice(place, key, first, last))


def _twice(place: Source, key: str, first: int, last: int) -> Gap:
    lines = f"lines {first} and {last}" if first and last else "two places"
    return Gap(
        source=at(place, last, key),
        what=f"the key {key} only once: it is given in {lines}",
        why="loaders take the last and drop the others without a word; so does Holter, but it keeps both",
        do="delete the one that is not meant",
    )


def too_large(place: Source) -> Gap:
    """The gap for a file whose anchors multiply."""
    return Gap(
        source=place,
        what="the values of this file",
        why="its anchors or nesting stand for more values than any settings file holds",
        do="give the settings without anchors, or single ones with --set",
    )
