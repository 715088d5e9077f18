"""The five post-mortems, read as they are: what their authors had to find by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import holter
from holter.diagnosis.result import Diagnosis, Verdict

pytestmark = pytest.mark.real_data

ACCOUNT_TAX = {
    "world_size": "4",
    "gradient_accumulation_steps": "2",
    "versions.transformers": "4.57.1",
    "num_labels": "280",
    "architectures": "Qwen3ForSequenceClassification",
    "adapters": "lora",
    "warmup_steps": "700",
    "max_grad_norm": "1.0",
}


def answer(shared: Path, number: int, tmp_path: Path, settings: dict[str, str] | None = None) -> Diagnosis:
    """The diagnosis of one report alone in a folder."""
    found = sorted((shared / "reports").glob(f"{number}-*.md"))
    shutil.copy(found[0], tmp_path / found[0].name)
    return holter.diagnose(holter.read([tmp_path], settings=settings or {}))


@pytest.mark.parametrize("number", [3, 5])
def test_account_tax_is_the_loss_scale_with_factor_8(shared: Path, tmp_path: Path, number: int) -> None:
    diagnosis = answer(shared, number, tmp_path, ACCOUNT_TAX)
    assert diagnosis.verdict is Verdict.FAULT
    first = diagnosis.causes[0]
    assert first.cause == "grad-accum-loss-scale"
    told = first.explanation + " ".join(e.text for e in first.evidence)
    assert "divided by 8" in told and "4 processes = 8" in told


@pytest.mark.parametrize("number", [3, 5])
@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("warmup-missing", "learning rate of later steps"),
        ("grad-clip-too-strict", "only through weight updates"),
        ("adapter-layers", "B = 0"),
        ("padding-multiple", "masked"),
    ],
)
def test_account_tax_suspects_are_excluded_with_reasons(
    shared: Path, tmp_path: Path, number: int, label: str, words: str
) -> None:
    excluded = {e.cause: e.reason for e in answer(shared, number, tmp_path, ACCOUNT_TAX).excluded}
    assert words in excluded[label]


def test_runyoro_is_fp16_and_the_rest_follows(shared: Path, tmp_path: Path) -> None:
    diagnosis = answer(shared, 2, tmp_path)
    first = diagnosis.causes[0]
    assert (diagnosis.verdict, first.cause) == (Verdict.FAULT, "fp16-overflow")
    assert "The loss of 0.0" in first.explanation and "The learning rate of 0.0" in first.explanation


def test_akkadian_is_fp16_and_the_disagreement_is_shown(shared: Path, tmp_path: Path) -> None:
    diagnosis = answer(shared, 1, tmp_path)
    assert (diagnosis.verdict, diagnosis.causes[0].cause) == (Verdict.FAULT, "fp16-overflow")
    disagreement = [f for f in diagnosis.findings if "fp16" in f.message and len(f.evidence) > 1]
    assert any({True, False} <= {e.value for e in f.evidence} for f in disagreement)
