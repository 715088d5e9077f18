"""Command lines: launchers with their options, the options of the script, environment variables, pinned packages.

Nothing is run: ``$NAME`` is replaced only where the same text assigns it, ``$(...)`` stays as written.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from holter.names import NEVER_BARE, config_name, meaning_of, normal
from holter.patterns import regex
from holter.readers.base import literal
from holter.run import Authority, Run, Source, Value
from holter.secrets import mask, mask_value
from holter.values import add

MAX_VARIABLE = 10_000  # characters of a variable that is filled in: variables built of themselves grow without end
FEW_KNOWN = 2  # a command that is no launcher counts when so many of its options are settings

_ASSIGNMENT = regex(r"(?:export\s+|set\s+|%env\s+|env\s+)?([A-Za-z_]\w*)=(.*)", re.S)
_VARIABLE = regex(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")
_SEPARATORS = frozenset({";", "&&", "||", "|", "&", "do", "then", "else", "done", "fi"})
_LAUNCHERS = ("accelerate", "torchrun", "deepspeed", "horovodrun", "mpirun", "srun")  # the one that counts first
_PROGRAMS = regex(
    r"(?:.*/)?(?:python[\d.]*|\w+\.py|llamafactory-cli|axolotl|tune|xtuner|swift|litgpt|trl|kedro|fairseq-\w+)$"
)
_PINNED = regex(r"([A-Za-z][\w.\-]*)(?:\[[\w,\-]*\])?==([\w.+!]+)$")
_HYDRA = regex(r"[+~]{0,2}([A-Za-z_][\w./@\-]*)=(.*)", re.S)
_NUMBER = regex(r"-?\.?\d")
_HOSTS = regex(r"@?[\w.\-]+:([\d,]+)")


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word of a command and its line."""

    text: str
    line: int


@dataclass(kw_only=True)
class Commands:
    """Reads command lines of one file or cell into a Run.

    Attributes:
        run: where to.
        source: the file and cell.
        authority: how close the text is to what ran.
        variables: shell variables assigned so far.
    """

    run: Run
    source: Source
    authority: Authority = Authority.COMMAND
    variables: dict[str, str] = field(default_factory=dict)

    def read(self, text: str, first_line: int = 1) -> int:
        """Read every command of ``text``; the number of commands that held settings."""
        return sum(self._command(words) for words in _commands(text, first_line))

    def _command(self, words: list[Word]) -> bool:
        words = [Word(text=self._filled(word.text), line=word.line) for word in words]
        while words and (match := _ASSIGNMENT.fullmatch(words[0].text)):
            self._variable(match.group(1), match.group(2), words[0].line)
            words = words[1:]
            if words and words[0].text in ("export", "env", "set"):
                words = words[1:]
        if words and words[0].text in ("export", "env", "set", "%env", "time", "nohup", "sudo", "exec", "!"):
            return self._command(words[1:])
        if not words:
            return False
        if "install" in {word.text for word in words[:4]}:
            return self._install(words)
        return self._options(words)

    def _filled(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match.group(1) or match.group(3)
            known = self.variables.get(name, "")
            return match.group() if len(known) > MAX_VARIABLE else known or match.group(2) or match.group()

        return _VARIABLE.sub(value, text) if "$" in text else text

    def _variable(self, name: str, text: str, line: int) -> None:
        self.variables[name] = text
        ours = config_name(name)
        if ours is not None and normal(name) not in NEVER_BARE and "$" not in text:
            self._add(name, text if ours == "cuda_visible_devices" else literal(text), line, text)

    def _install(self, words: list[Word]) -> bool:
        found = False
        for word in words:
            if match := _PINNED.match(word.text):
                name = match.group(1).lower().replace("_", "-")
                self.run.add_setting(f"versions.{name}", self._value(match.group(2), word.line, mask(word.text)))
                found = True
        return found

    def _options(self, words: list[Word]) -> bool:
        launcher = _launcher_of(words)
        program = any(_PROGRAMS.match(word.text) for word in words)
        options = list(_pairs(words))
        known = sum(1 for key, _, _ in options if config_name(key) is not None)
        if not (launcher or program or known >= FEW_KNOWN):
            return False
        script = next((at for at, word in enumerate(words) if word.text.endswith(".py")), len(words))
        counted = launcher is not None and self._launcher(launcher, words[:script])
        for key, value, line in options:
            if not (counted and config_name(key) == "world_size"):
                self._option(key, value, line)
        return bool(options) or launcher is not None

    def _launcher(self, name: str, words: list[Word]) -> bool:
        """Add what a launcher starts; whether it settled the number of processes by itself."""
        self._add("launcher", name, words[0].line, name)
        given = {config_name(key): (value, line) for key, value, line in _pairs(words)}
        processes, machines = given.get("world_size"), given.get("num_machines")
        if processes and machines and name != "accelerate":
            each, several = literal(str(processes[0])), literal(str(machines[0]))
            if isinstance(each, int) and isinstance(several, int) and several > 1:
                self._add("world_size", each * several, processes[1], f"{each} x {several}")
                return True
        for key, value, line in _pairs(words):
            if key == "include" and (match := _HOSTS.fullmatch(str(value))):
                self._add("world_size", len(match.group(1).split(",")), line, str(value))
                return True
        return False

    def _option(self, key: str, value: Any, line: int) -> None:
        raw = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        if isinstance(value, list):
            value = [literal(item) for item in value]
        elif isinstance(value, str):
            value = literal(value)
        if value is True and key.startswith(("no_", "no-")) and config_name(key) is None and config_name(key[3:]):
            key, value = key[3:], False
        self._add(key, value, line, raw)

    def _add(self, key: str, value: Any, line: int, raw: str) -> None:
        value, raw = mask_value(key, value, raw)
        add(self.run, normal(key), value, template=self._value(value, line, raw))

    def _value(self, value: Any, line: int, raw: str) -> Value:
        at = self.source.line or 1
        place = Source(file=self.source.file, line=at - 1 + line, cell=self.source.cell)
        return Value(value=value, source=place, raw=raw, authority=self.authority)


def _commands(text: str, first_line: int) -> Iterator[list[Word]]:
    """The commands of a text: physical lines joined at a backslash, cut at ``;`` and ``&&``."""
    words: list[Word] = []
    for number, line in enumerate(text.split("\n"), start=first_line):
        stripped = line.strip()
        continues = stripped.endswith(("\\", "^", "`")) and len(stripped) > 0
        for part in _split(stripped[:-1] if continues else stripped):
            bare = part.rstrip(";")
            if part in _SEPARATORS:
                if words:
                    yield words
                words = []
            elif bare:
                words.append(Word(text=bare, line=number))
            if part.endswith(";") and words:
                yield words
                words = []
        if not continues and words:
            yield words
            words = []
    if words:
        yield words


def _split(line: str) -> list[str]:
    if not line or line.startswith("#"):
        return []
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split(" #")[0].split()


def _launcher_of(words: list[Word]) -> str | None:
    """The launcher that starts the training processes: of ``srun torchrun`` it is torchrun."""
    before = {word.text.rsplit("/", 1)[-1] for word in words[:12] if not word.text.startswith("-")}
    return next((name for name in _LAUNCHERS if name in before), None)


@cache
def _takes_one(option: str) -> bool:
    """Whether an option is a number, so that a second word behind it is an argument of the command."""
    ours = config_name(option)
    row = meaning_of(ours) if ours is not None else None
    return row is not None and row.is_number


def _pairs(words: list[Word]) -> Iterator[tuple[str, Any, int]]:
    """Options with their values: text, a list for several, True for a bare flag; and ``key=value`` overrides."""
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        name = word.text.lstrip("-")
        if not word.text.startswith("-") or _NUMBER.match(word.text) or not name:
            match = _HYDRA.fullmatch(word.text)
            if match and at > 1:
                yield match.group(1), match.group(2), word.line
            continue
        if not word.text.startswith("--") and config_name(name.split("=")[0]) is None:
            continue
        if "=" in name:
            key, _, value = name.partition("=")
            yield key, value, word.line
            continue
        values: list[str] = []
        while at < len(words) and (not words[at].text.startswith("-") or _NUMBER.match(words[at].text)):
            if words[at].text.endswith(".py") or (values and _HYDRA.fullmatch(words[at].text)):
                break
            values.append(words[at].text)
            at += 1
            if _takes_one(name):
                break
        yield name, (True if not values else values[0] if len(values) == 1 else values), word.line
