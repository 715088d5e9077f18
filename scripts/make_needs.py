"""Writes src/holter/checks/needs.json: what each check needs, known before it is imported.

Usage: python scripts/make_needs.py

It comes from the classes of the checks: change those, then run this (`make docs` does).
"""

from __future__ import annotations

from typing import Any

import orjson

from holter.checks.base import Check, Needs
from holter.checks.registry import NEEDS, all_checks

NOTHING = Needs()
TURN = ("second_look", "explains_symptoms")


def table() -> bytes:
    """The file, one check a line; what is as in most checks is left out."""
    rows = ",\n".join(f'"{check.code}": {orjson.dumps(row(check)).decode()}' for check in all_checks())
    return f"{{\n{rows}\n}}\n".encode()


def row(check: type[Check]) -> dict[str, Any]:
    """What is known of one check before it is imported."""
    needs = {key: value for key, value in vars(check.needs).items() if value != getattr(NOTHING, key)}
    return {"name": check.name, "needs": needs} | {key: True for key in TURN if getattr(check, key)}


if __name__ == "__main__":
    NEEDS.write_bytes(table())
    print(f"wrote {NEEDS.name}")
