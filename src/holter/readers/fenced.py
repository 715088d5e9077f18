"""A block of code, settings or output inside another document, read by the language it is marked with."""

from __future__ import annotations

import re
from dataclasses import replace

from holter.patterns import regex
from holter.readers.commands import Commands
from holter.readers.documents import add_documents
from holter.readers.json_tree import read_json
from holter.readers.source.scan import Part, scan
from holter.readers.toml_tree import read_toml
from holter.readers.yaml_tree import read_yaml
from holter.run import Authority, Run, Source

_PYTHON = frozenset({"python", "py", "python3", "ipython", "pycon", "py3", "jupyter"})
_SHELL = frozenset({"bash", "sh", "shell", "zsh", "console", "shell-session", "cmd", "powershell", "slurm"})
_SETTINGS = {"yaml": read_yaml, "yml": read_yaml, "json": read_json, "jsonc": read_json, "toml": read_toml}
_LOG = frozenset({"", "text", "txt", "log", "output", "plaintext", "plain", "logs", "none", "error", "pytb", "diff"})
_LOOKS_LIKE_PYTHON = regex(
    r"^(?:from [\w.]+ import |import \w|@\w|(?:async )?def \w+\(|class \w+\b.*:$|for .+:$|[\w.]+ ?= ?\w+\()", re.M
)
_LOOKS_LIKE_SHELL = regex(
    r"^\s*(?:[$!%]\s*)?(?:python3?|torchrun|accelerate|deepspeed|CUDA_VISIBLE_DEVICES=)\S*\s", re.M
)


def read_block(
    text: str, language: str, source: Source, *, first_line: int = 1, authority: Authority = Authority.PROSE
) -> tuple[Run, str]:
    """What a block says, and what it was taken for: ``python``, ``settings``, ``shell``, ``log`` or ``other``.

    Args:
        text: the block without its fences.
        language: as marked, empty when it is not.
        source: the document.
        first_line: line of the document at which the block starts.
        authority: of what is found in it.
    """
    kind = kind_of(text, language)
    if kind == "python":
        found, magics = scan([Part(text=text, source=source, offset=first_line - 1)], authority)
        commands = Commands(run=found, source=source, authority=authority)
        for magic in magics:
            commands.source = magic.source
            commands.read(magic.text)
        return found, kind
    run = Run()
    if kind == "settings":
        tree = _SETTINGS[language.lower()](text)
        add_documents(run, tree, replace(source, line=first_line), authority=authority)
    elif kind == "shell":
        at = replace(source, line=first_line)
        Commands(run=run, source=at, authority=authority).read(re.sub(r"(?m)^(\s*)[$!%]\s?", r"\1", text))
    elif kind == "log":
        from holter.readers.console_log import read_lines

        lines = enumerate(text.split("\n"), start=first_line)
        run = read_lines(lines, source.file, cell=source.cell)
    return run, kind


def kind_of(text: str, language: str) -> str:
    """What a block is, by its mark or, unmarked, by its looks."""
    marked = language.lower()
    if marked in _PYTHON:
        return "python"
    if marked in _SETTINGS:
        return "settings"
    if marked in _SHELL or (marked in _LOG and _LOOKS_LIKE_SHELL.search(text)):
        return "shell"
    if marked in _LOG:
        return "python" if len(_LOOKS_LIKE_PYTHON.findall(text)) > 1 else "log"
    return "other"
