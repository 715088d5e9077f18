"""Patches command lines in shell scripts and notebook cells."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from holter.fixes.patch import Edit

_COMMAND = re.compile(r"^[^\n#]*(?:(?<=\\)\r?\n[^\n]*|(?<=\\\r)\n[^\n]*)*", re.M)
_LAUNCH = re.compile(r"\b(?:python3?|torchrun|accelerate|deepspeed|axolotl|llamafactory-cli)\b")
_VALUE = r"(?P<value>\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s\\]+)"


def patch(text: str, edits: Sequence[Edit]) -> str:
    """The text with each edit made and nothing else touched.

    Raises:
        ValueError: there is no training command, or a flag that has no value is to be given one.
    """
    for edit in edits:
        text = _patch_one(text, edit)
    return text


def _patch_one(text: str, edit: Edit) -> str:
    flag = (edit.spelling or edit.key).rsplit(".", 1)[-1].lstrip("-")
    name = re.escape(flag).replace("_", "[-_]")
    valued = re.compile(rf"(?P<flag>--{name}(?:=|[ \t]+))(?!-){_VALUE}")
    bare = re.compile(rf"[ \t]*(?:\\\r?\n[ \t]*)?--{name}(?=[\s\\]|$)")
    match = valued.search(text)
    if match is not None:
        return text[: match.start("value")] + spell(edit.new) + text[match.end("value") :]
    match = bare.search(text)
    if match is not None:
        return _set_bare(text, match, edit.new)
    return _append(text, flag, edit.new)


def _set_bare(text: str, match: re.Match[str], new: Any) -> str:
    if new is True:
        return text
    if new is False or new is None:
        return text[: match.start()] + text[match.end() :]
    return text[: match.end()] + " " + spell(new) + text[match.end() :]


def _append(text: str, flag: str, new: Any) -> str:
    commands = [m for m in _COMMAND.finditer(text) if _LAUNCH.search(m[0])]
    if not commands:
        raise ValueError("there is no training command")
    command = commands[-1]
    at = command.start() + len(command[0].rstrip())
    split = re.search(r"\\\r?\n([ \t]*)", command[0])
    joint = f" {split[0]}" if split else " "
    return text[:at] + f"{joint}--{flag} {spell(new)}" + text[at:]


def spell(value: Any) -> str:
    """A value as a command line writes it."""
    return shlex.quote(str(value)) if isinstance(value, str) else str(value)
