"""Everything source code says: calls and assignments, settings, and facts about the training step."""

from __future__ import annotations

from dataclasses import replace

from holter.readers.source.noted import add_comments
from holter.readers.source.parse import MAX_CHARACTERS, Parsed, comments, parse
from holter.readers.source.settings import add_settings
from holter.readers.source.tokens import add_token_facts
from holter.readers.source.training_step import add_facts
from holter.readers.source.walk import Walker, bound_once
from holter.run import Authority, Code, Gap, Run, Source


def scan(text: str, source: Source, authority: Authority, *, offset: int = 0) -> tuple[Run, list[tuple[int, str]]]:
    """What ``text`` says.

    Args:
        text: Python source, possibly an excerpt.
        source: the file and cell it stands in.
        authority: how close it is to what ran.
        offset: lines before it in that file.

    Returns:
        A Run, and the (line, text) of command lines found in IPython magics.
    """
    run, parsed = Run(), parse(text)
    walker = Walker(source=source, names=bound_once(parsed.pieces), offset=offset)
    try:
        walker.walk(parsed.pieces)
    except RecursionError:
        run.gaps.append(_gap(source, "the rest of this source", "its expressions are nested too deep to follow"))
    noted = comments(text)
    code = Code(
        source=replace(source, line=None),
        calls=tuple(walker.calls),
        assignments=tuple(walker.assignments),
        comments=tuple(comment for _, comment in noted),
    )
    run.code.append(code)
    add_settings(run, walker, code, authority)
    add_comments(run, [(line + offset, comment) for line, comment in noted], source)
    add_facts(run, code, {line + offset: comment for line, comment in noted}, authority)
    add_token_facts(run, code, authority)
    run.gaps.extend(_lost(text, parsed, source, offset))
    return run, [(line + offset, command) for line, command in parsed.commands]


def _lost(text: str, parsed: Parsed, source: Source, offset: int) -> list[Gap]:
    gaps = []
    if parsed.lost:
        first, count = parsed.lost[0] + offset, len(parsed.lost)
        what = f"line {first}" if count == 1 else f"{count} lines from line {first} on"
        gaps.append(_gap(replace(source, line=first), what, "they are not Python; the rest was read"))
    if len(text) > MAX_CHARACTERS:
        gaps.append(
            _gap(source, f"everything after {MAX_CHARACTERS:,} characters", "the file is too long for a script")
        )
    return gaps


def _gap(source: Source, what: str, why: str) -> Gap:
    return Gap(source=source, what=what, why=why, do="settings in that part can be given with --set")
