"""Decides once, for every form of report, what is said, in which words and in which order. Writers only format."""

from __future__ import annotations

from collections.abc import Sequence

from holter.diagnosis.result import Diagnosis, Verdict
from holter.finding import Severity
from holter.reports import sections as say
from holter.reports.blocks import Section, View
from holter.reports.charts import plots
from holter.reports.clean import clean
from holter.reports.wording import certainty, judgement, sentence
from holter.run import Run

ORDER: dict[str, tuple[str, ...]] = {
    # Somebody at a terminal wants the answer, then its reasons, then what to type.
    "text": ("cause", "evidence", "excluded", "fix", "expect", "next", "suspects", "symptoms", "notes", "record"),
    # The order of a written post-mortem.
    "markdown": (
        *("symptoms", "evidence", "excluded", "cause", "suspects", "fix", "expect", "checklist", "notes"),
        *("series", "record"),
    ),
    "html": (
        *("symptoms", "fix", "series", "evidence", "excluded", "cause", "suspects", "expect", "checklist", "notes"),
        "record",
    ),
}
UNSETTLED_FIRST = {"text": ("next", "suspects"), "html": ("checklist", "suspects"), "markdown": ()}
"""Where the cause is open, the measurement that would settle it is the answer."""
PLOTTED = ("html",)


def build(diagnosis: Diagnosis, run: Run, form: str, extra: Sequence[Section] = ()) -> View:
    """The page of a diagnosis, with secrets masked.

    Args:
        diagnosis: what was concluded.
        run: the record it was concluded from; only its series and yardsticks are used.
        form: ``text``, ``markdown`` or ``html``.
        extra: further sections (differences, trials, ledger, verification), put before the record.
    """
    cleaned = clean(diagnosis)
    order = [key for key in ORDER[form] if key != "record"]
    if diagnosis.verdict is Verdict.UNDETERMINED:
        order = [*UNSETTLED_FIRST[form], *(key for key in order if key not in UNSETTLED_FIRST[form])]
    made = {s.key: s for s in _sections(cleaned)}
    made["record"] = say.record(cleaned, brief=form == "text")
    if form in PLOTTED:
        made["series"] = Section(key="series", title="The run", blocks=tuple(clean(plots(cleaned, run))))
    ordered = [*(made[key] for key in order if key in made), *clean(list(extra)), made["record"]]
    return View(
        title="Holter diagnosis",
        verdict=cleaned.verdict.value,
        headline=_headline(cleaned),
        summary=_summary(cleaned),
        label=cleaned.causes[0].cause if cleaned.causes and cleaned.verdict is Verdict.FAULT else "",
        sections=tuple(section for section in ordered if section.blocks),
    )


def _sections(diagnosis: Diagnosis) -> list[Section]:
    made = [say.notes(diagnosis)]
    if diagnosis.verdict is Verdict.HEALTHY:
        return made
    makers = (
        *(say.symptoms, say.evidence, say.excluded, say.cause, say.suspects),
        *(say.fix, say.expect, say.next_steps, say.checklist),
    )
    return [*made, *(maker(diagnosis) for maker in makers)]


def _headline(diagnosis: Diagnosis) -> str:
    if diagnosis.verdict is Verdict.HEALTHY:
        return "Nothing wrong was found in this run."
    if diagnosis.verdict is Verdict.UNDETERMINED:
        if _is_silent(diagnosis):
            return "There is not enough here to judge the run."
        return "Something is wrong; the evidence does not settle what."
    if diagnosis.causes:
        return sentence(diagnosis.causes[0].title)
    return "Something is wrong; no known cause explains it."


def _summary(diagnosis: Diagnosis) -> tuple[str, ...]:
    if diagnosis.verdict is Verdict.FAULT and diagnosis.causes:
        return (judgement(diagnosis.causes[0]),)
    if diagnosis.verdict is Verdict.UNDETERMINED and diagnosis.causes:
        first = diagnosis.causes[0]
        return (f"Closest so far: {first.cause}, {certainty(first.confidence)}.",)
    return tuple(sentence(text) for text in diagnosis.notes) if diagnosis.verdict is Verdict.HEALTHY else ()


def _is_silent(diagnosis: Diagnosis) -> bool:
    return not any(f.severity >= Severity.WARNING for f in diagnosis.findings)
