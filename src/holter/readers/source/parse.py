"""Parses Python that may be an excerpt: cut off, indented, with IPython magics, or with lines that are not Python."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from holter.patterns import regex

MAX_CHARACTERS = 4_000_000  # hand-written scripts are far smaller; beyond this the file is generated
MAX_DEPTH = 8  # headers around a broken line that are taken apart
MAX_STATEMENT_LINES = 60  # when a file does not parse as a whole, no statement longer than this is looked for

_MAGIC = regex(r"^(?P<indent>\s*)(?P<sign>%%?|!|\?)(?P<rest>.*)$")
_ASSIGNED_MAGIC = regex(r"^(?P<indent>\s*)\w[\w, ]*=\s*[!%](?P<rest>.*)$")
_ELLIPSIS = regex(r",?\s*\.\.\.\s*,?(?=\s*[)\]}])")
_HEADER = regex(r"(?:async )?(?:class|def|if|for|while|with|try)\b.*:\s*(?:#.*)?$")
_CONTINUES = regex(r"^(elif|else|except|finally|case)\b|^[)\]}]")
_OPENERS = {"(": ")", "[": "]", "{": "}"}


@dataclass(kw_only=True)
class Parsed:
    """What could be parsed.

    Attributes:
        pieces: syntax trees in file order; line numbers are those of the file.
        commands: (line, text) of ``!`` and ``%`` magics, without the sign.
        lost: lines that are not Python, 1-based.
    """

    pieces: list[ast.Module] = field(default_factory=list)
    commands: list[tuple[int, str]] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)


def parse(text: str) -> Parsed:
    """Everything in ``text`` that is Python."""
    parsed = Parsed()
    lines = _without_magics(text[:MAX_CHARACTERS].split("\n"), parsed)
    whole = _try("\n".join(lines)) or _try(textwrap.dedent("\n".join(lines)))
    if whole is not None:
        parsed.pieces.append(whole)
        return parsed
    for first, block in _blocks(lines):
        _piece(block, first, parsed)
    return parsed


def _piece(block: list[str], first: int, parsed: Parsed, depth: int = 0) -> None:
    """Parse one block; the body of a class or loop that does not parse is taken apart in the same way."""
    dedented = textwrap.dedent("\n".join(block))
    tree = _try(dedented, first) or _try(_ELLIPSIS.sub(_line_ends, dedented), first) or _cut_at_header(dedented, first)
    if tree is not None:
        parsed.pieces.append(tree)
    elif len(block) > 2 and depth < MAX_DEPTH and _HEADER.match(block[0].strip()):
        for at, inner in _blocks(block[1:]):
            _piece(inner, first + at, parsed, depth + 1)
    else:
        _statements(block, first, parsed)


def _cut_at_header(text: str, first: int) -> ast.Module | None:
    """A block whose last line opens a loop or a function that is not shown."""
    last = next((line for line in reversed(text.split("\n")) if _counts(line)), "")
    return _try(f"{text}\n{' ' * (_indent(last) + 1)}pass", first) if _HEADER.match(last.strip()) else None


def comments(text: str) -> list[tuple[int, str]]:
    """The comments of ``text`` as (line, text without ``#``), also where it does not parse."""
    found: list[tuple[int, str]] = []
    if "#" not in text:
        return found
    try:
        for token in tokenize.generate_tokens(io.StringIO(text[:MAX_CHARACTERS]).readline):
            if token.type == tokenize.COMMENT:
                found.append((token.start[0], token.string.lstrip("#").strip()))
    except (tokenize.TokenError, SyntaxError, RecursionError, ValueError):
        return [
            (number, match.group(1).strip())
            for number, line in enumerate(text[:MAX_CHARACTERS].split("\n"), start=1)
            if (match := re.search(r"(?:^|\s)#+\s?([^'\"]*)$", line))
        ]
    return found


def _without_magics(lines: list[str], parsed: Parsed) -> list[str]:
    kept: list[str] = []
    continued = False
    for number, line in enumerate(lines, start=1):
        if continued:
            parsed.commands[-1] = (parsed.commands[-1][0], parsed.commands[-1][1] + "\n" + line)
            continued = line.rstrip().endswith("\\")
            kept.append("")
            continue
        match = _MAGIC.match(line) or _ASSIGNED_MAGIC.match(line)
        if match is None or (match.lastgroup == "rest" and _is_operator(line, kept)):
            kept.append(line)
            continue
        parsed.commands.append((number, match.group("rest").strip()))
        continued = line.rstrip().endswith("\\")
        kept.append(match.group("indent") + "pass")
    return kept


def _is_operator(line: str, before: list[str]) -> bool:
    """Whether a leading ``%`` continues an expression instead of starting a magic."""
    previous = next((text for text in reversed(before) if text.strip()), "")
    return line.lstrip().startswith("%") and previous.rstrip().endswith(("(", ",", "\\", "'", '"'))


def _try(text: str, first: int = 1) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    return ast.increment_lineno(tree, first - 1) if first > 1 else tree


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that start at the least indentation, with what belongs to them."""
    margin = min((_indent(line) for line in lines if _counts(line)), default=0)
    block: list[str] = []
    first, decorated = 1, False
    for number, line in enumerate(lines, start=1):
        starts = _counts(line) and _indent(line) <= margin and not _CONTINUES.match(line.strip()) and not decorated
        if starts and block:
            yield first, block
            block = []
        if not block:
            first = number
        block.append(line)
        decorated = line.strip().startswith("@") and _indent(line) <= margin
    if block:
        yield first, block


def _line_ends(match: re.Match[str]) -> str:
    """What stays of an ellipsis that stands for further arguments: its line ends, so that lines keep their numbers."""
    return "\n" * match.group().count("\n")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _statements(block: list[str], first: int, parsed: Parsed) -> None:
    """Parse a block that does not parse as a whole, longest run of lines first from each line on."""
    at = 0
    while at < len(block):
        if not _counts(block[at]):
            at += 1
            continue
        tree, used = _longest(block[at : at + MAX_STATEMENT_LINES])
        if tree is None:
            parsed.lost.append(first + at)
            at += 1
            continue
        parsed.pieces.append(ast.increment_lineno(tree, first + at - 1))
        at += used


def _longest(lines: list[str]) -> tuple[ast.Module | None, int]:
    closed = _try(_closed(textwrap.dedent("\n".join(lines))))
    if closed is not None:
        return closed, len(lines)
    margin = _indent(lines[0])
    for end in range(len(lines) - 1, 0, -1):
        if end > 1 and _counts(lines[end]) and _indent(lines[end]) > margin:
            continue
        tree = _try(textwrap.dedent("\n".join(lines[:end])))
        if tree is not None:
            return tree, end
    return None, 1


def _closed(text: str) -> str:
    """``text`` with the brackets closed that a cut left open, up to the last complete argument."""
    expected: list[str] = []
    quote = ""
    for at, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote and text[at - 1] != "\\" else quote
        elif sign in "'\"":
            quote = sign
        elif sign in _OPENERS:
            expected.append(_OPENERS[sign])
        elif expected and sign == expected[-1]:
            expected.pop()
    if not expected:
        return text
    return text[: text.rfind(",") + 1 or len(text)] + "".join(reversed(expected)) if "," in text else text
