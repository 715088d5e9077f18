"""The table of versions and heads says what was measured."""

import json
import math
from pathlib import Path

import pytest

from holter.knowledge.loss_kwargs import loss_factor

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "accounting_versions.json"
MEASURED = json.loads(RESULTS.read_text())


def scale(factor, row):
    """The part of a factor that accumulation and processes make up."""
    known = {"gradient_accumulation_steps": row["accumulation"], "world_size": row["world_size"]}
    return math.prod(known[term] ** power for term, power in factor["terms"].items() if term in known)


@pytest.mark.parametrize("version", sorted(MEASURED))
def test_the_table_gives_what_was_measured(version):
    compared = 0
    for row in MEASURED[version]:
        head, _, variant = row["case"].partition(", ")
        if "account" not in row or "compute_loss" in variant:
            continue
        smoothing = variant == "label smoothing"
        said = loss_factor(version, head, row["accumulation"], row["world_size"], label_smoothing=smoothing)
        if said is None:
            continue
        found = [scale(row["account"][name], row) for name in ("loss_factor", "grad_factor")]
        assert found == [said.loss, said.gradient], row["case"]
        compared += 1
    assert compared >= 24


def test_every_factor_measured_has_a_name():
    unnamed = [
        (version, row["case"], row["accumulation"], row["world_size"])
        for version, rows in MEASURED.items()
        for row in rows
        if "account" in row
        for name in ("loss_factor", "grad_factor", "eval_factor")
        if row["account"][name] is not None and not row["account"][name]["named"]
    ]
    assert unnamed == []
