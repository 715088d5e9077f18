"""The text of a Markdown document; see `holter.readers.markdown` for what is kept apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import dedent

from holter.names import config_name
from holter.patterns import regex
from holter.readers.accounts import Voice
from holter.readers.fenced import kind_of, read_block
from holter.readers.listed_runs import add_listed
from holter.readers.markdown_blocks import Block, blocks, cells
from holter.readers.merge import merge
from holter.readers.pairs_table import add_pairs, of_block
from holter.readers.pasted import PASTED, set_apart
from holter.readers.prose import add_line, add_table, put
from holter.readers.roles import Role, role_under, told_role
from holter.readers.runs_table import add_runs
from holter.readers.told import Told, titled, without_comments
from holter.run import EVENT_MESSAGE, Assignment, Authority, Run, Series, Source, Value
from holter.values import number

_CHANGED = regex(r"([^\s#→]+)\s*(?:→|->)\s*([^\s(→]+)")


def read_markdown(text: str, shown: str, *, cell: int | None = None, voice: Voice = Voice.ANALYSIS) -> Run:
    """What a Markdown text says.

    Args:
        text: the document.
        shown: the file as told to the user.
        cell: of a notebook, 1-based.
        voice: who speaks in it.
    """
    of_run = voice in (Voice.TOLD, Voice.PLAIN)
    parts: list[Run] = []
    ran: list[Block] = []
    text = without_comments(text) if of_run else text
    told = Told(Source(file=shown, cell=cell), titled(text))
    for block in set_apart(blocks(text), text) if of_run else blocks(text):
        place = Source(file=shown, line=block.first, cell=cell)
        if of_run:
            role = told_role(block.headings[titled(text) :], block.lead)
        else:
            role = role_under(block.headings, block.lead)
        if block.kind in ("code", PASTED):
            parts.append(_code(block, place, role, voice))
        elif block.kind == "table":
            parts.append(_table(block, place, role, told=voice is Voice.TOLD))
        else:
            part = Run()
            add_line(part, block, place, role)
            parts.append(part)
            ran += [block] if role is Role.RAN else []
    listed = Run()
    add_listed(listed, ran, Source(file=shown, cell=cell))
    parts.append(listed)
    if voice is Voice.TOLD:
        told.take_title(text)
        for block in ran:
            told.take(block)
        parts.append(told.finish())
    return merge(parts)


def _table(block: Block, place: Source, role: Role, *, told: bool) -> Run:
    run = Run()
    if role is Role.RAN and (_add_pairs(run, block, place, told) or add_runs(run, block, place)):
        return run
    if add_table(run, block, place, role) or role is not Role.RAN:
        return run
    return _metrics(block.lines, place)


def _add_pairs(run: Run, block: Block, place: Source, told: bool) -> bool:
    """Add a table of names and values; what was seen only where somebody tells of the run."""
    pairs = of_block(block) if len(cells(block.lines[0])) == 2 else None
    if pairs is None or not (told or pairs.are_settings):
        return False
    add_pairs(run, pairs, Source(file=place.file, cell=place.cell), Authority.PROSE)
    return True


def _metrics(lines: Sequence[str], place: Source) -> Run:
    """The series of a table or log; its other lines are prose and no events."""
    from holter.readers.console_log import read_lines

    return _logged(read_lines(enumerate(lines, start=place.line or 1), place.file, cell=place.cell))


def _logged(found: Run) -> Run:
    """Series that say where in the run their points lie, and events that tell of a fault."""
    series = [one for one in (*found.series.values(), *found.other_series) if _is_placed(one)]
    events = [event for event in found.events if event.kind != EVENT_MESSAGE]
    return merge([Run(other_series=series, events=events, config=found.config, facts=found.facts, gaps=found.gaps)])


def _is_placed(series: Series) -> bool:
    return any(not math.isnan(place) for places in (series.steps, series.epochs) for place in places)


def _code(block: Block, place: Source, role: Role, voice: Voice) -> Run:
    text = dedent("\n".join(block.lines))
    kind = kind_of(text, block.language)
    if kind == "log" and (role is not Role.RAN or voice is Voice.PAGE):
        return Run()  # what another run printed, or what a page shows as an example
    place = Source(file=place.file, cell=place.cell)
    of_run = role is Role.RAN and voice in (Voice.TOLD, Voice.PLAIN)
    found, kind = read_block(text, block.language, place, first_line=block.first, printed=of_run)
    if kind == "python":
        found.gaps.clear()  # a report quotes fragments; what is not Python there was never code that ran
    if voice is Voice.PAGE:  # an example's own options, such as --config, say nothing of a run
        found.config = {
            name: values for name, values in found.config.items() if config_name(name) or name.startswith("versions.")
        }
    if role is Role.RAN:
        return _logged(found) if kind == "log" and voice is Voice.ANALYSIS else found
    run = Run()
    for name, values in found.config.items():
        for value in values:
            if value.authority is not Authority.DEFAULT:
                put(run, name, value.value, value, role)
    if role is Role.PROPOSED:
        _replaced(run, found, block)
    return run


def _replaced(run: Run, found: Run, block: Block) -> None:
    """Settings that a proposed line says it changes: ``fp16: bool = False  # True -> False`` tells that True ran."""
    for code in found.code:
        for assignment in code.assignments:
            line = block.lines[(assignment.source.line or 0) - block.first]
            match = _CHANGED.search(line.partition("#")[2])
            if match and number(match.group(2)) == _plain(assignment):
                old = Value(value=None, source=assignment.source, raw=match.group(), authority=Authority.PROSE)
                put(run, assignment.target, number(match.group(1)), old, Role.RAN)


def _plain(assignment: Assignment) -> object:
    return assignment.value
