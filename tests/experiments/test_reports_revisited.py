"""The pages about the five reports: every claim is on them with a verdict, and the verdicts are those of trials."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from holter.diagnosis.causes import CAUSES  # noqa: E402
from holter.experiments.expression import parse  # noqa: E402
from holter.experiments.pool import LocalPool  # noqa: E402
from scripts import reports_revisited as revisited  # noqa: E402

RIGHT = {"akkadian": "fp16-overflow", "account-tax": "grad-accum-loss-scale", "runyoro": "fp16-overflow"}
HOLDS = {"pad-token-missing": "refuted", "warmup-missing": "refuted", "padding-multiple": "refuted"}


def rows(page):
    """Number -> (claim, verdict) of a page's table."""
    text = (revisited.PAGES / f"{page}.md").read_text(encoding="utf-8").replace("\\", "")
    found = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|.*\| (\w+) \|$", text, re.M)
    return {int(number): (says, verdict) for number, says, verdict in found}


@pytest.mark.parametrize("system", revisited.SYSTEMS, ids=lambda system: system.page)
def test_every_claim_is_on_its_page_with_a_verdict(system):
    on_page = rows(system.page)
    assert [on_page[n][0] for n in sorted(on_page)] == [claim.says for claim in system.claims]
    for number, claim in enumerate(system.claims, start=1):
        verdict = on_page[number][1]
        assert verdict in ("confirmed", "refuted") if claim.change else verdict == "inconclusive"
        if claim.cause == RIGHT[system.page]:
            assert verdict == "confirmed", claim.says
        if claim.cause in HOLDS:
            assert verdict == HOLDS[claim.cause], claim.says


@pytest.mark.parametrize("system", revisited.SYSTEMS, ids=lambda system: system.page)
def test_claims_can_be_tested(system):
    for claim in system.claims:
        assert claim.cause == "" or claim.cause in CAUSES
        if claim.change:
            assert parse(claim.expect).references
        else:
            assert claim.means


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 3])
def test_a_claim_tested_anew_comes_out_as_on_its_page(number, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(revisited, "BUILD", tmp_path)
    system = next(s for s in revisited.SYSTEMS if s.page == "account-tax")
    entry = revisited.test(system, system.claims[number], tmp_path, LocalPool())
    assert revisited.word(entry) == rows("account-tax")[number + 1][1]
