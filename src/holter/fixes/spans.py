"""Where things stand in a text, so that an edit leaves every other byte as it was."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_JSON_TOKEN = re.compile(r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<punct>[{}\[\],:])|(?P<word>[^\s{}\[\],:"]+))', re.S)

Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Span:
    """Characters ``start`` to ``end`` of a text; ``new`` is what shall stand there."""

    start: int
    end: int
    new: str


def replace(text: str, spans: Iterable[Span]) -> str:
    """The text with each span replaced; spans must not overlap."""
    for span in sorted(spans, key=lambda s: s.start, reverse=True):
        text = text[: span.start] + span.new + text[span.end :]
    return text


def json_spans(text: str) -> dict[Path, tuple[int, int]]:
    """Path of every value of a JSON text -> its first and one-past-last character.

    Raises:
        ValueError: the text is not JSON; the message names the character.
    """
    spans: dict[Path, tuple[int, int]] = {}
    tokens = _tokens(text)
    end = _walk(tokens, 0, (), spans)
    if end != len(tokens):
        raise ValueError(f"unexpected text at character {tokens[end][1]}")
    return spans


_Token = tuple[str, int, int]


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at, stop = 0, len(text.rstrip())
    while at < stop:
        match = _JSON_TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise ValueError(f"unexpected text at character {at}")
        start, at = match.span(match.lastgroup)
        found.append((text[start:at], start, at))
    return found


def _walk(tokens: list[_Token], at: int, path: Path, spans: dict[Path, tuple[int, int]]) -> int:
    word, start, end = _at(tokens, at)
    if word not in "{[":
        spans[path] = (start, end)
        return at + 1
    close, index, inner = ("}" if word == "{" else "]"), 0, at + 1
    while _at(tokens, inner)[0] != close:
        if index and _at(tokens, inner)[0] != ",":
            raise ValueError(f"expected a comma at character {_at(tokens, inner)[1]}")
        inner += bool(index)
        if word == "{":
            key = _unquote(_at(tokens, inner)[0])
            if _at(tokens, inner + 1)[0] != ":":
                raise ValueError(f"expected a colon at character {_at(tokens, inner + 1)[1]}")
            inner = _walk(tokens, inner + 2, (*path, key), spans)
        else:
            inner = _walk(tokens, inner, (*path, index), spans)
        index += 1
    spans[path] = (start, tokens[inner][2])
    return inner + 1


def _at(tokens: list[_Token], index: int) -> _Token:
    if index >= len(tokens):
        raise ValueError("the text ends in the middle")
    return tokens[index]


def _unquote(token: str) -> str:
    import json

    return str(json.loads(token))
