"""The list of all checks and causes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holter.checks.registry import all_checks
from holter.reports.blocks import Item, Items, Section, View
from holter.reports.manual import needs_text
from holter.reports.wording import count

SCHEMA = "holter.list/1"


def as_data(kinds: Sequence[str]) -> dict[str, Any]:
    """Checks and causes as plain data; ``kinds`` holds ``checks``, ``causes`` or both."""
    data: dict[str, Any] = {"schema": SCHEMA}
    if "checks" in kinds:
        data["checks"] = [
            {
                "code": check.code,
                "name": check.name,
                "title": check.title,
                "severity": check.severity.word,
                "stage": check.stage.word,
                "needs": needs_text(check.needs),
            }
            for check in all_checks()
        ]
    if "causes" in kinds:
        data["causes"] = [
            {"cause": c.label, "family": family, "title": c.title, "stage": c.stage.word, "definition": c.definition}
            for family, causes in _families().items()
            for c in causes
        ]
    return data


def as_view(kinds: Sequence[str]) -> View:
    """Checks and causes as a page."""
    sections: list[Section] = []
    total: list[str] = []
    if "checks" in kinds:
        items = tuple(Item(label=c.code, text=f"{c.name}: {c.title}.", tone=c.severity.word) for c in all_checks())
        total.append(count(len(items), "check"))
        sections.append(Section(key="checks", title="Checks", blocks=(Items(items=items),)))
    if "causes" in kinds:
        for family, causes in _families().items():
            items = tuple(Item(label=c.label, text=f"{c.title} (at {c.stage.word}).") for c in causes)
            title = f"Causes: {family}"
            sections.append(Section(key=family, title=title, blocks=(Items(items=items, style="terms"),)))
        total.append(count(sum(len(causes) for causes in _families().values()), "cause"))
    return View(
        title="What Holter knows",
        headline=f"{' and '.join(total)}. `holter explain NAME` prints the page of one.",
        sections=tuple(sections),
    )


def _families() -> dict[str, tuple[Any, ...]]:
    from holter.diagnosis.causes import FAMILIES

    return FAMILIES
