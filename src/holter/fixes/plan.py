"""From a diagnosis to patches of the user's own files."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holter.errors import FixError
from holter.finding import Change, Fix
from holter.fixes.patch import Edit, Patch, decode, fingerprint
from holter.fixes.spelling import WORDS, translate
from holter.fixes.statements import STATEMENTS
from holter.run import Authority, Run, Value

PATCHERS: Mapping[str, str] = {
    # suffix -> module below holter.fixes with patch(text, edits)
    ".yaml": "yaml_file",
    ".yml": "yaml_file",
    ".json": "json_file",
    ".py": "python_file",
    ".ipynb": "notebook",
    ".sh": "shell",
    ".bash": "shell",
}


SCRIPTS = (".py", ".ipynb")
TRAINER = "trainer."
"""Prefix of a setting that is an attribute of the Trainer; statements are known without it."""
ENABLED = ".enabled"
"""DeepSpeed's files hold a switch as an object: ``"fp16": {"enabled": true}``."""
NO_HOME = (Authority.DEFAULT, Authority.FACT, Authority.RECORDED, Authority.SET)


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """A change that no file could be patched for, with the reason."""

    change: Change
    why: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a fix would do: patches, and what is left to a person."""

    summary: str
    patches: tuple[Patch, ...]
    by_hand: tuple[ByHand, ...]


def plan(fix: Fix, run: Run, roots: Sequence[Path]) -> Plan:
    """The patches that a fix asks for; nothing is written.

    Args:
        fix: the change to make.
        run: the run it was diagnosed from; its sources say where each setting stands.
        roots: the files and folders that were read.
    """
    changes = [replace(change, key=change.key.removeprefix(TRAINER)) for change in fix.changes]
    new = {change.key: change.new for change in changes}
    edits: dict[Path, list[tuple[Change, Edit]]] = {}
    by_hand: list[ByHand] = []
    for change in changes:
        path = _file_of(change, run, roots)
        if path is None:
            by_hand.append(ByHand(change=change, why="no file that was read holds it, or can be patched"))
        else:
            edits.setdefault(path, []).append((change, _edit(change, run, new)))
    patches = []
    for path, wanted in edits.items():
        patch, refused = _patch_file(path, wanted, roots)
        by_hand.extend(refused)
        if patch is not None:
            patches.append(patch)
    return Plan(summary=fix.summary, patches=tuple(patches), by_hand=tuple(_without_repeats(by_hand)))


def _without_repeats(by_hand: Sequence[ByHand]) -> list[ByHand]:
    """One line a setting and reason; a setting that stands in several places is told once."""
    told = {(left.change.key, repr(left.change.new), left.why): left for left in reversed(by_hand)}
    return list(reversed(told.values()))


def _patch_file(
    path: Path, wanted: Sequence[tuple[Change, Edit]], roots: Sequence[Path]
) -> tuple[Patch | None, list[ByHand]]:
    name, content = _shown(path, roots), path.read_bytes()
    module = importlib.import_module(f"holter.fixes.{PATCHERS[path.suffix.lower()]}")
    patch_text: Callable[[str, Sequence[Edit]], str] = module.patch
    made, refused = [], []
    try:
        before = after = decode(content, name)
    except FixError as error:
        return None, [ByHand(change=change, why=error.why) for change, _ in wanted]
    for change, edit in wanted:
        try:
            after = patch_text(after, [edit])
            made.append(edit)
        except ValueError as error:
            refused.append(ByHand(change=change, why=f"{name}: {error}"))
    patch = Patch(path=path, name=name, before=before, after=after, sha256=fingerprint(content), edits=tuple(made))
    return (patch if made else None), refused


def _edit(change: Change, run: Run, new: Mapping[str, Any]) -> Edit:
    value = _value(change, run)
    word = _word_at(value, run) if value else None
    spelling = (value.source.key or (word or "")) if value else ""
    old = _old_word(value, word, run) if value else change.old
    written = translate(change.key, spelling, change.new, dict(new), old)
    if value is None and _is_deepspeed(change, run):
        spelling, written = change.key, {ENABLED[1:]: change.new}
    return Edit(
        key=change.key,
        spelling=spelling,
        new=written,
        old=old,
        line=value.source.line if value else None,
        cell=value.source.cell if value else None,
    )


def _word_at(value: Value, run: Run) -> str | None:
    """The key of one word, such as ``precision``, at the very place where a switch was read from it."""
    place = (value.source.file, value.source.line, value.source.cell)
    for name in WORDS:
        if any(
            (v.source.file, v.source.line, v.source.cell) == place and v.raw == value.raw
            for v in run.config.get(name, ())
        ):
            return name
    return None


def _old_word(value: Value, word: str | None, run: Run) -> Any:
    """What stands in the file: the word where there is one, since the switch was only derived from it."""
    same = [v.value for v in run.config.get(word or "", ()) if v.source.file == value.source.file]
    return same[0] if same else value.value


def _is_deepspeed(change: Change, run: Run) -> bool:
    """Whether the file of a switch that is not there yet holds the other switch as DeepSpeed does."""
    switches = (v for name in ("fp16", "bf16") for v in run.config.get(name, ()))
    return change.key in ("fp16", "bf16") and any(
        v.source.file == change.file and (v.source.key or "").endswith(ENABLED) for v in switches
    )


def _value(change: Change, run: Run) -> Value | None:
    found = [v for v in run.config.get(change.key, ()) if change.file in (None, v.source.file)]
    return found[0] if found else None


def _file_of(change: Change, run: Run, roots: Sequence[Path]) -> Path | None:
    value = _value(change, run)
    name = change.file or (value.source.file if value else _home(run, change.key))
    path = _resolve(name, roots) if name else None
    return path if path is not None and path.suffix.lower() in PATCHERS else None


def _home(run: Run, key: str) -> str | None:
    """Where a new setting belongs: the file that holds most training settings, among those closest to what ran.

    What a tool recorded during a run is its output and no place for a setting, and a statement belongs into a script.
    """
    suffixes = SCRIPTS if key in STATEMENTS else PATCHERS
    counts: dict[str, tuple[int, int]] = {}
    for value in (value for values in run.config.values() for value in values):
        if value.authority in NO_HOME or Path(value.source.file).suffix.lower() not in suffixes:
            continue
        rank, count = counts.get(value.source.file, (0, 0))
        counts[value.source.file] = (max(rank, int(value.authority)), count + 1)
    return max(counts, key=lambda name: (counts[name], name)) if counts else None


def _resolve(name: str, roots: Sequence[Path]) -> Path | None:
    for root in roots:
        for path in (root / name, root.parent / name) if root.is_dir() else (root.parent / name, root):
            if path.is_file() and path.name == Path(name).name:
                return path
    return None


def _shown(path: Path, roots: Sequence[Path]) -> str:
    for root in roots:
        base = root if root.is_dir() else root.parent
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return path.name
