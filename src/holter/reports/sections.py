"""The sections of a diagnosis: what each says and in which words. Records in, plain blocks out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from holter.diagnosis.result import Diagnosis, Next, RankedCause, Verdict
from holter.finding import Evidence, Finding, Fix, Severity
from holter.reports.blocks import Bar, Bars, Block, Edit, Edits, Item, Items, Paragraph, Section, Table
from holter.reports.wording import by_family, certainty, clip, count, lacking, listed, sentence, setting
from holter.run import Source

SOURCES = re.compile(r"(?=\bSources?: )")
"""What an explanation rests on stands at its end and gets a paragraph of its own."""
MOST_FILES = 200  # rows of the table of files; a folder of thousands is summed up after them
MOST_FILES_BRIEF = 12  # as many as fit beside the answer on one screen


def symptoms(diagnosis: Diagnosis) -> Section:
    """What is wrong, worst first."""
    return _findings("symptoms", "Symptoms", [f for f in diagnosis.findings if f.severity >= Severity.WARNING])


def notes(diagnosis: Diagnosis) -> Section:
    """Findings that are no fault, and remarks of the diagnosis."""
    found = _findings("notes", "Worth knowing", [f for f in diagnosis.findings if f.severity < Severity.WARNING])
    told = diagnosis.verdict is Verdict.HEALTHY  # right below the headline, where nothing else stands
    remarks = tuple(Item(text=sentence(clip(text))) for text in (() if told else diagnosis.notes))
    return Section(key="notes", title=found.title, blocks=(*found.blocks, *_items(remarks)))


def _findings(key: str, title: str, findings: Sequence[Finding]) -> Section:
    ordered = sorted(findings, key=lambda f: (-f.severity, f.code))
    items = tuple(
        Item(text=sentence(clip(f.message)), place=_place(f.evidence), label=f.code, tone=f.severity.word)
        for f in ordered
    )
    return Section(key=key, title=title, blocks=_items(items))


def evidence(diagnosis: Diagnosis) -> Section:
    """What speaks for the first cause, and against it."""
    if not diagnosis.causes:
        return Section(key="evidence", title="Evidence", blocks=())
    first = diagnosis.causes[0]
    blocks: list[Block] = [*_items(_evidence_items(first.evidence))]
    if first.against:
        blocks += [Paragraph(text="What speaks against it:"), *_items(_evidence_items(first.against))]
    title = f"Evidence for {first.cause}" if diagnosis.verdict is Verdict.UNDETERMINED else "Evidence"
    return Section(key="evidence", title=title, blocks=tuple(blocks))


def excluded(diagnosis: Diagnosis) -> Section:
    """Causes that were ruled out, each with its reason; what several reasons begin with is said once."""
    shared: dict[str, list[Item]] = {}
    alone: list[Item] = []
    leads = Counter(e.reason.partition("; ")[0] for e in diagnosis.excluded)
    for one in diagnosis.excluded:
        lead, _, rest = one.reason.partition("; ")
        if rest and leads[lead] > 1:
            shared.setdefault(lead, []).append(Item(label=one.cause, text=sentence(clip(rest))))
        else:
            alone.append(Item(label=one.cause, text=sentence(clip(one.reason))))
    blocks: list[Block] = []
    for lead, items in shared.items():
        blocks += [Paragraph(text=f"{sentence(lead)} That rules out:"), *_items(tuple(items), "terms")]
    if shared and alone:
        blocks.append(Paragraph(text="Also ruled out:"))
    return Section(key="excluded", title="Ruled out", blocks=(*blocks, *_items(tuple(alone), "terms")))


def cause(diagnosis: Diagnosis) -> Section:
    """How the first cause works."""
    parts = SOURCES.split(diagnosis.causes[0].explanation) if diagnosis.causes else []
    blocks = tuple(Paragraph(text=part.strip()) for part in parts if part.strip())
    title = "Closest cause" if diagnosis.verdict is Verdict.UNDETERMINED else "Cause"
    return Section(key="cause", title=title, blocks=blocks)


def suspects(diagnosis: Diagnosis) -> Section:
    """All causes still standing, side by side; left out where the first one stands alone."""
    if len(diagnosis.causes) < 2:
        return Section(key="suspects", title="Suspects", blocks=())
    told: set[str] = set()
    bars = tuple(_bar(c, told) for c in diagnosis.causes)
    return Section(key="suspects", title="Suspects", blocks=(Bars(bars=bars),))


def _bar(found: RankedCause, told: set[str]) -> Bar:
    """``told`` holds the reasons given so far: one that all share tells nothing apart, so it is given once."""
    fresh = next((e for e in found.evidence if e.text not in told), None)
    if fresh is not None:
        told.add(fresh.text)
    return Bar(
        label=found.cause,
        title=found.title,
        share=found.confidence,
        words=certainty(found.confidence),
        reason="" if fresh is None else sentence(clip(fresh.text)),
        place="" if fresh is None else _place((fresh,)),
    )


def fix(diagnosis: Diagnosis) -> Section:
    """The one change to make now."""
    found = _named_fix(diagnosis) if diagnosis.causes else _own_fix(diagnosis.findings)
    if found is None:
        return Section(key="fix", title="Fix", blocks=())
    changes = (Edits(edits=edits(found)),) if found.changes else ()
    return Section(key="fix", title="Fix", blocks=(Paragraph(text=sentence(found.summary), strong=True), *changes))


def _named_fix(diagnosis: Diagnosis) -> Fix | None:
    """The fix of the cause that was named; none while the cause is open, since it would be a guess."""
    return diagnosis.causes[0].fix if diagnosis.causes and diagnosis.verdict is Verdict.FAULT else None


def _own_fix(findings: Iterable[Finding]) -> Fix | None:
    ordered = sorted(findings, key=lambda f: (-f.severity, f.code))
    return next((f.fix for f in ordered if f.fix is not None and f.severity >= Severity.WARNING), None)


def edits(found: Fix) -> tuple[Edit, ...]:
    """The changes of a fix as text."""
    return tuple(
        Edit(
            key=change.key,
            file=change.file or "",
            old="" if change.old is None else clip(setting(change.old, change.file)),
            new=clip(setting(change.new, change.file)),
        )
        for change in found.changes
    )


def expect(diagnosis: Diagnosis) -> Section:
    """What the run looks like once it is fixed."""
    text = diagnosis.causes[0].expect if _named_fix(diagnosis) is not None else ""
    return Section(
        key="expect", title="Expected after the fix", blocks=(Paragraph(text=sentence(text)),) if text else ()
    )


def next_steps(diagnosis: Diagnosis) -> Section:
    """Measurements that would settle it, the cheapest first."""
    items = tuple(_next_item(step) for step in diagnosis.next)
    return Section(key="next", title="To settle it", blocks=_items(items, "number"))


def _next_item(step: Next) -> Item:
    text = sentence(clip(step.measure))
    if len(step.separates) > 1:
        text += f" Separates {step.separates[0]} from {listed(step.separates[1:], 'and')}."
    return Item(text=text, command=step.command)


def checklist(diagnosis: Diagnosis) -> Section:
    """The work that is left, as boxes to tick."""
    items: list[Item] = []
    found = _named_fix(diagnosis)
    if found is not None:
        items += [Item(text=_edit_line(edit)) for edit in edits(found)] or [Item(text=sentence(found.summary))]
    items += [_next_item(step) for step in diagnosis.next]
    if found is not None and diagnosis.causes[0].expect:
        items.append(Item(text=f"Run again and compare: {diagnosis.causes[0].expect}"))
    title = "To settle it" if diagnosis.verdict is Verdict.UNDETERMINED else "Checklist"
    return Section(key="checklist", title=title, blocks=_items(tuple(items), "check"))


def _edit_line(edit: Edit) -> str:
    before = f" (now {edit.old})" if edit.old else ""
    where = f" in {edit.file}" if edit.file else ""
    return f"Set {edit.key} to {edit.new}{where}{before}."


def record(diagnosis: Diagnosis, *, brief: bool = False) -> Section:
    """What was read, what ran, what did not and why; ``brief`` sums up the files and the reasons."""
    most = MOST_FILES_BRIEF if brief else MOST_FILES
    blocks: list[Block] = []
    if diagnosis.inputs:
        rows = tuple((i.file, i.reader, clip(i.why)) for i in diagnosis.inputs[:most])
        blocks.append(Table(columns=("file", "read as", "because"), rows=rows))
    if len(diagnosis.inputs) > most:
        blocks.append(Paragraph(text=f"And {count(len(diagnosis.inputs) - most, 'more file')}."))
    gaps = tuple(Item(text=clip(f"{g.what}: {g.why}. {g.do}"), place=str(g.source)) for g in diagnosis.gaps)
    if gaps:
        blocks += [Paragraph(text="Could not be read:"), *_items(gaps)]
    ran = sorted({*diagnosis.passed, *(f.code for f in diagnosis.findings)})
    if ran:
        blocks.append(Paragraph(text=f"Checks that ran: {by_family(ran) if brief else ', '.join(ran)}."))
    blocks += _skipped(diagnosis, brief)
    lead = tally(diagnosis)
    return Section(key="record", title="What was looked at", blocks=tuple(blocks), folded=True, lead=lead)


def _skipped(diagnosis: Diagnosis, brief: bool) -> list[Block]:
    """One line a reason: a hundred checks lack the same dozen things."""
    blocks: list[Block] = []
    for crashed, title in ((True, "Checks that failed (a fault of Holter):"), (False, "Checks that were skipped:")):
        reasons: dict[str, list[str]] = {}
        for one in diagnosis.skipped:
            if one.crashed is crashed:
                why = lacking(one.reason) if brief and not crashed else one.reason
                reasons.setdefault(why, []).append(one.code)
        items = tuple(_reason(clip(why), sorted(codes), brief) for why, codes in sorted(reasons.items()))
        if items:
            blocks += [Paragraph(text=title), *_items(items, "terms")]
    return blocks


def _reason(why: str, codes: Sequence[str], brief: bool) -> Item:
    return Item(label=why, text=by_family(codes)) if brief else Item(label=", ".join(codes), text=why)


def tally(diagnosis: Diagnosis) -> str:
    """One line: how much was read, how many checks ran and how many could not."""
    ran = len({*diagnosis.passed, *(f.code for f in diagnosis.findings)})
    skipped = sum(not s.crashed for s in diagnosis.skipped)
    crashed = sum(s.crashed for s in diagnosis.skipped)
    parts = [f"{count(len(diagnosis.inputs), 'file')} read", f"{count(ran, 'check')} ran", f"{skipped} skipped"]
    if crashed:
        parts.append(f"{crashed} failed")
    if diagnosis.gaps:
        parts.append(count(len(diagnosis.gaps), "gap"))
    return ", ".join(parts)


def _evidence_items(found: Iterable[Evidence]) -> tuple[Item, ...]:
    return tuple(Item(text=sentence(clip(e.text)), place=_where(e.source)) for e in found)


def _place(found: Sequence[Evidence]) -> str:
    return next((_where(e.source) for e in found if e.source is not None), "")


def _where(source: Source | None) -> str:
    return "" if source is None else str(source)


def _items(items: tuple[Item, ...], style: str = "bullet") -> tuple[Items, ...]:
    return (Items(items=items, style=style),) if items else ()
