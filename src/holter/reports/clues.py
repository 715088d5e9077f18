"""Which checks speak for which causes, found by running every check on its own examples."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from holter.checks.base import Check
from holter.checks.engine import run_check
from holter.checks.registry import all_checks
from holter.reports.blocks import Item, Items, Section
from holter.reports.wording import number


@cache
def spoken(check: type[Check]) -> dict[str, float]:
    """Cause -> the strongest clue, in bits, that the check gives for or against it in its bad cases."""
    from holter.testing import make_run

    found: dict[str, float] = {}
    for case in check.bad:
        for finding in run_check(check, make_run(**case.contents)).findings:
            for clue in finding.clues:
                found[clue.cause] = max(found.get(clue.cause, clue.bits), clue.bits, key=abs)
    return {cause: bits for cause, bits in found.items() if bits}


def of_check(check: type[Check]) -> Section:
    """The causes that a check speaks for and against."""
    return _section("Causes it speaks for or against", spoken(check).items())


def of_cause(label: str) -> Section:
    """The checks that speak for and against a cause."""
    rows = ((f"{check.code} {check.name}", spoken(check).get(label, 0.0)) for check in all_checks())
    return _section("Checks that speak for or against it", ((name, bits) for name, bits in rows if bits))


def _section(title: str, rows: Iterable[tuple[str, float]]) -> Section:
    ordered = sorted(rows, key=lambda row: (-row[1], row[0]))
    items = tuple(Item(label=name, text=_bits(bits)) for name, bits in ordered)
    return Section(key="clues", title=title, blocks=(Items(items=items, style="terms"),) if items else ())


def _bits(bits: float) -> str:
    return f"{'for' if bits > 0 else 'against'} it, by up to {number(abs(bits))} {'bit' if abs(bits) == 1 else 'bits'}"
