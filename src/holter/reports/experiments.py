"""The sections of a comparison, a search, a ledger and a verification. Records in, plain blocks out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holter.compare import Comparison, Difference, compare
from holter.diagnosis.result import Diagnosis
from holter.experiments.bisect import Bisection, Tried
from holter.experiments.ledger import Entry
from holter.experiments.symptom import worst_finding
from holter.experiments.verify import Verification, verify
from holter.finding import Severity
from holter.fixes import Plan, plan
from holter.reports.blocks import Block, Code, Curve, Item, Items, Mark, Paragraph, Plot, Section, Table
from holter.run import Run, Series

ABSENT = "not set"


def comparison(found: Comparison) -> list[Section]:
    """Differences phase by phase, what was set aside, and the series laid over each other."""
    standing = [d for d in found.differences if not d.set_aside]
    aside = [d for d in found.differences if d.set_aside]
    sections = [Section(key="differences", title="Differences", blocks=_differences(standing))]
    items = tuple(Item(label=d.setting, text=f"{_sides(d)}. Set aside: {d.set_aside}.") for d in aside)
    if items:
        blocks: tuple[Block, ...] = (Items(items=items, style="terms"),)
        sections.append(Section(key="set-aside", title="Cannot have caused it", blocks=blocks))
    if found.overlays:
        sections.append(Section(key="overlay", title="The two runs", blocks=_overlays(found)))
    return sections


def _differences(standing: Sequence[Difference]) -> tuple[Block, ...]:
    if not standing:
        return (Paragraph(text="No setting that could matter differs."),)
    rows = tuple((d.phase, d.setting, _side(d, "good"), _side(d, "bad"), d.stage.word, _word(d)) for d in standing)
    return (Table(columns=("phase", "setting", "GOOD", "BAD", "acts at", "weight"), rows=rows),)


def _word(found: Difference) -> str:
    return {Severity.ERROR: "suspect", Severity.WARNING: "may matter", Severity.NOTE: "harmless"}[found.severity]


def _side(found: Difference, side: str) -> str:
    text = spell(found.good if side == "good" else found.bad)
    return f"{text} (default)" if side in found.defaults else text


def _sides(found: Difference) -> str:
    return f"{_side(found, 'good')} in GOOD, {_side(found, 'bad')} in BAD"


def _overlays(found: Comparison) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for overlay in found.overlays:
        apart = overlay.step is not None
        values = f"{overlay.good_value:.4g} in GOOD, {overlay.bad_value:.4g} in BAD"
        where = (
            f"{overlay.name} parts at step {overlay.step}: {values}." if apart else f"{overlay.name} stays together."
        )
        blocks.append(Paragraph(text=where))
        curves = (_curve("GOOD", overlay.good), _curve("BAD", overlay.bad))
        marks = (Mark(x=float(overlay.step or 0), label="they part"),) if apart else ()
        blocks.append(Plot(title=overlay.name, curves=curves, marks=marks))
    return tuple(blocks)


def _curve(name: str, series: Series) -> Curve:
    steps = [i + 1.0 if math.isnan(s) else s for i, s in enumerate(series.steps)]
    return Curve(name=name, xs=steps, ys=list(series.values))


def bisection(found: Bisection) -> list[Section]:
    """What carries the symptom, every trial, and what was not tried."""
    culprits = tuple(
        Item(label=name, text=f"{spell(good)} in GOOD, {spell(bad)} in BAD", tone="error")
        for name, (good, bad) in found.culprits.items()
    )
    how = (
        "It carries the symptom by itself."
        if len(culprits) == 1
        else "They carry it only together; none can be left out."
    )
    blocks: tuple[Block, ...] = (Items(items=culprits, style="terms"), Paragraph(text=how, strong=True))
    sections = [
        Section(key="culprits", title="What carries the symptom", blocks=blocks),
        Section(key="trials", title="Trials", blocks=_trials(found)),
    ]
    if found.set_aside:
        items = tuple(Item(label=name, text=f"{reason}.") for name, reason in found.set_aside.items())
        sections.append(Section(key="set-aside", title="Not tried", blocks=(Items(items=items, style="terms"),)))
    return sections


def _trials(found: Bisection) -> tuple[Block, ...]:
    rows = tuple((str(i + 1), t.label, _shows(t), _values(t.values), _samples(t)) for i, t in enumerate(found.trials))
    spread = ", ".join(f"{name} {value:.3g}" for name, value in found.spread.items() if not name.startswith("good."))
    note = f"Spread of two unchanged replays: {spread or 'none'}. The same value under samples means the same rows."
    columns = ("trial", "differences", "shows it", "values", "samples")
    return (Paragraph(text=f"Symptom: {found.symptom}"), Table(columns=columns, rows=rows), Paragraph(text=note))


def _shows(trial: Tried) -> str:
    return trial.note if trial.shows is None else "yes" if trial.shows else "no"


def _samples(trial: Tried) -> str:
    return trial.result.fingerprints[0][:8] if trial.result.fingerprints else ""


def ledger(entries: Sequence[Entry]) -> Section:
    """Every hypothesis with its prediction and what came out; refuted ones stay."""
    if not entries:
        return Section(key="ledger", title="Ledger", blocks=(Paragraph(text="Nothing was predicted yet."),))
    rows = tuple(_entry(e) for e in entries)
    columns = ("no.", "hypothesis", "predicted", "observed", "verdict")
    reasons = tuple(
        Item(label=f"{e.number} {e.verdict.word.value}", text=f"{e.verdict.reason}.")
        for e in entries
        if e.verdict is not None
    )
    blocks: tuple[Block, ...] = (Table(columns=columns, rows=rows),)
    return Section(
        key="ledger", title="Ledger", blocks=(*blocks, Items(items=reasons, style="terms")) if reasons else blocks
    )


def _entry(entry: Entry) -> tuple[str, ...]:
    verdict = entry.verdict
    what = entry.hypothesis.text + (f" ({entry.hypothesis.why})" if entry.hypothesis.why else "")
    if verdict is None:
        return (str(entry.number), what, entry.hypothesis.expect, "", "not finished")
    observed = _values(verdict.observed)
    before = _values(verdict.base)
    both = f"{observed}; unchanged {before}" if before else observed
    return (str(entry.number), what, entry.hypothesis.expect, both, verdict.word.value)


def verification(found: Verification) -> Section:
    """What the fix predicted against what came."""
    rows = tuple(
        (row.quantity, spell(row.before), row.predicted, spell(row.after), row.word.value) for row in found.rows
    )
    blocks: list[Block] = [
        Paragraph(text=found.sentence, strong=True),
        Table(columns=("quantity", "before", "predicted", "after", "verdict"), rows=rows),
    ]
    if found.still_off:
        blocks.append(Items(items=tuple(Item(text=text, tone="warning") for text in found.still_off)))
    return Section(key="verification", title="Verification", blocks=tuple(blocks))


def _values(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def spell(value: Any) -> str:
    """A setting or number as tables show it."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(spell, value))
    return str(value)


def dossier(
    diagnosis: Diagnosis,
    run: Run,
    roots: Sequence[Path],
    *,
    good: Run | None = None,
    after: Run | None = None,
    entries: Sequence[Entry] = (),
    search: Bisection | None = None,
) -> list[Section]:
    """Everything beside the diagnosis itself: differences, ledger, patch, verification, as far as there is any.

    Args:
        diagnosis: of the run.
        run: the run.
        roots: the files and folders it was read from, for the patch.
        good: a run that works.
        after: the run with the fix.
        entries: of the ledger.
        search: the last bisection over the run.
    """
    sections: list[Section] = []
    if good is not None:
        sections += comparison(compare(good, run, symptom=worst_finding(run)))
    if search is not None:
        sections += bisection(search)
    if entries:
        sections.append(ledger(entries))
    fix = diagnosis.causes[0].fix if diagnosis.causes else None
    if fix is not None:
        sections.append(patch(plan(fix, run, roots)))
    if after is not None:
        sections.append(verification(verify(run, after)))
    return sections


def patch(planned: Plan) -> Section:
    """The fix as a diff of the user's own files, and what is left to a person."""
    diff = "".join(one.diff for one in planned.patches)
    by_hand = tuple(
        Item(label=left.change.key, text=f"set it to {spell(left.change.new)} by hand: {left.why}.")
        for left in planned.by_hand
    )
    blocks: list[Block] = [Code(text=diff, language="diff")] if diff else []
    if by_hand:
        blocks.append(Items(items=by_hand, style="terms"))
    return Section(key="patch", title="The patch", blocks=tuple(blocks))
