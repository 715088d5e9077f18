"""JSON to a `Tree`, with the line of every key; comments, trailing commas and a cut-off end are forgiven and told."""

from __future__ import annotations

import json
import re
from typing import Any

from holter.patterns import regex
from holter.readers.numbers import whole
from holter.readers.tree import MAX_DEPTH, Node, Tree

MAX_CHARACTERS = 8_000_000  # settings are kilobytes; a larger JSON file is data

_COMMENT = regex(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.S)
_TRAILING_COMMA = regex(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.S)


class _Pairs(list[tuple[str, Any]]):
    """An object as the decoder hands it out, with keys given twice."""


def read_json(text: str) -> Tree:
    """The value of ``text``, or as much of it as stands before a break."""
    tree = Tree()
    if len(text) > MAX_CHARACTERS:
        tree.faults.append((0, "this file", "it is too large for settings"))
        return tree
    try:
        value = _decode(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        relaxed = _relaxed(text)
        if relaxed is None:
            why = getattr(error, "msg", "it nests too deep").lower()
            tree.faults.append((line, f"everything from line {line} on" if line else "this file", why))
            return tree
        value, what, why = relaxed
        tree.faults.append((line, what, why))
    tree.documents.append(_Lines(text).node(value, 0))
    return tree


def _decode(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_Pairs, parse_int=whole)


def _relaxed(text: str) -> tuple[Any, str, str] | None:
    """The value with comments and trailing commas taken out, or with the open ends closed."""
    bare = _TRAILING_COMMA.sub(
        lambda match: match.group(1) or "", _COMMENT.sub(lambda match: match.group(1) or "", text)
    )
    try:
        return _decode(bare), "nothing", "comments or trailing commas, which JSON does not know, were passed over"
    except (ValueError, RecursionError):
        pass
    for closed in _closed(bare):
        try:
            return _decode(closed), "what follows this line", "the file ends or breaks in the middle"
        except (ValueError, RecursionError):
            continue
    return None


def closed_json(text: str) -> Any:
    """Plain data of JSON that is cut off, without its last values; None when even that cannot be read."""
    for closed in _closed(text):
        try:
            return json.loads(closed, parse_int=whole)
        except (ValueError, RecursionError):
            continue
    return None


def _closed(text: str) -> list[str]:
    """``text`` cut after its last complete values and closed, the longest first."""
    expected: list[str] = []
    cuts: list[tuple[int, str]] = []
    quoted = escaped = False
    for at, sign in enumerate(text):
        if quoted:
            quoted, escaped = not (sign == '"' and not escaped), sign == "\\" and not escaped
        elif sign == '"':
            quoted = True
        elif sign in "{[":
            expected.append("}" if sign == "{" else "]")
            cuts.append((at + 1, "".join(reversed(expected))))
        elif sign in "}]":
            if not expected or expected.pop() != sign:
                break
            cuts.append((at + 1, "".join(reversed(expected))))
        elif sign == "," and expected:
            cuts.append((at, "".join(reversed(expected))))
        if len(expected) > MAX_DEPTH:
            break
    return [text[:at] + closing for at, closing in reversed(cuts[-TRIES:])]


TRIES = 6  # a cut falls inside one value, so one of the last few places is right


class _Lines:
    """Finds the line of each key by looking for the keys in the order of the document."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = self.line_at = 0
        self.line = 1

    def node(self, value: Any, depth: int) -> Node:
        line = self.line
        if depth > MAX_DEPTH:
            return Node(value=str(value)[:200], line=line)
        if isinstance(value, _Pairs):
            return Node(line=line, pairs=tuple((key, self._below(key, inner, depth)) for key, inner in value))
        if isinstance(value, list):
            return Node(line=line, raw=_raw(value), items=tuple(self.node(item, depth + 1) for item in value))
        return Node(value=value, line=line, raw=_raw(value))

    def _below(self, key: str, value: Any, depth: int) -> Node:
        self._seek(key)
        return self.node(value, depth + 1)

    def _seek(self, key: str) -> None:
        for written in (json.dumps(key, ensure_ascii=False), json.dumps(key)):
            found = re.compile(re.escape(written) + r"\s*:").search(self.text, self.at)
            if found is not None:
                self.line += self.text.count("\n", self.line_at, found.start())
                self.line_at, self.at = found.start(), found.end()
                return


def _raw(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)[:200]
    except (TypeError, ValueError, RecursionError):
        return ""
