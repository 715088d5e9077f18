"""Settings that a comment states in so many words: ``# num_processes: 4``, ``# transformers 4.31.0``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from holter.names import config_name
from holter.patterns import regex
from holter.run import Authority, Run, Source, Value
from holter.values import add

PACKAGES = (
    r"transformers|torch|accelerate|peft|trl|deepspeed|datasets|tokenizers|"
    r"bitsandbytes|lightning|tensorflow|sentencepiece"
)
_STATEMENT = regex(r"([A-Za-z_][\w\- ]{0,40}?)\s*:\s+([^,;:]{1,80})")
_VERSION = regex(rf"\b({PACKAGES})[\s=:]+v?(\d+\.\d+[\w.+]*)", re.I)
_SIDE = {"padding": ("left", "right")}


def add_comments(run: Run, comments: Iterable[tuple[int, str]], source: Source) -> None:
    """Add what comments state; a remark behind code or a sentence is no statement."""
    for line, text in comments:
        at = replace(source, line=line)
        for package, version in _VERSION.findall(text):
            run.add_setting(
                f"versions.{package.lower()}", Value(value=version, source=at, raw=text, authority=Authority.FACT)
            )
        parts = [part.strip() for part in re.split(r"[,;]\s+", text)]
        stated = [_STATEMENT.fullmatch(part) for part in parts]
        for match in stated if all(stated) else ():
            if match is not None:
                _state(run, match.group(1), match.group(2).strip(), at)


def _state(run: Run, key: str, value: str, at: Source) -> None:
    if value.lower() in _SIDE.get(key.lower(), ()):
        key = "padding_side"
    if config_name(key) is not None:
        add(run, key, value, template=Value(value=value, source=at, raw=value, authority=Authority.FACT))
