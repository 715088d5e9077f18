"""Verdicts say no more than the trials show; the ledger keeps everything, also across a kill."""

import json

import pytest

from holter.errors import ConfigError, ReadError
from holter.experiments.attempt import attempt
from holter.experiments.expression import parse
from holter.experiments.factors import FACTORS, PHASES, why_not
from holter.experiments.ledger import Hypothesis, Ledger, Verdict, VerdictWord
from holter.experiments.targets import Target
from holter.experiments.trial import TrialOutcome, TrialResult
from holter.experiments.verdict import judge
from holter.stages import Stage


def result(loss, grad_norm=1.0, fingerprints=("a",)):
    return TrialResult(
        outcome=TrialOutcome.FINISHED,
        series={"loss": [(1, loss)], "grad_norm": [(1, grad_norm)]},
        fingerprints=fingerprints,
    )


CRASH = TrialResult(outcome=TrialOutcome.CRASHED, error="boom")


@pytest.mark.parametrize(
    ("expect", "base", "changed", "word", "reason"),
    [
        ("loss@1 < 10", [result(69), result(69)], result(8.7), "confirmed", "loss@1 8.7"),
        ("loss@1 < 10", [result(69), result(69)], result(68), "refuted", "does not hold"),
        ("loss@1 < 10", [result(8), result(8)], result(8), "inconclusive", "already holds"),
        ("loss@1 < 10", [result(9), result(11)], result(8), "inconclusive", "disagree"),
        ("loss@1 < 68.5", [result(69), result(70)], result(68.4), "inconclusive", "spread"),
        ("eval_loss < 1", [result(69), result(69)], result(8), "inconclusive", "logged no eval_loss"),
        ("loss@1 < 10", [result(69), result(69)], result(8, fingerprints=("b",)), "inconclusive", "same samples"),
        ("loss@1 < 10", [result(69), result(69)], CRASH, "inconclusive", "changed replay crashed: boom"),
        ("loss@1 < 10", [CRASH, CRASH], result(8), "inconclusive", "unchanged replay crashed"),
        ("loss@1 ~= base.loss@1", [result(69), result(69)], result(69), "confirmed", "loss@1 69"),
        ("loss@1 ~= base.loss@1", [result(69), result(69)], result(8), "refuted", "does not hold"),
        ("loss@1 / base.loss@1 ~= 0.125", [result(80), result(80)], result(10), "confirmed", "holds"),
    ],
)
def test_verdict(expect, base, changed, word, reason):
    verdict = judge(parse(expect), base, changed)
    assert verdict.word.value == word
    assert reason in verdict.reason


def test_other_samples_by_design_are_said():
    verdict = judge(parse("loss@1 < 9"), [result(10), result(10)], result(8, fingerprints=("b",)), other_samples=True)
    assert verdict.word is VerdictWord.CONFIRMED
    assert "alters the samples" in verdict.reason
    assert not verdict.fingerprints_match


HYPOTHESIS = Hypothesis(target="t", change={"warmup_ratio": 0.1}, expect="grad_norm@1 < 1")


def test_prediction_is_on_disk_before_the_verdict(tmp_path):
    ledger = Ledger(tmp_path)
    number = ledger.predict(HYPOTHESIS)
    assert Ledger(tmp_path).entries()[0].verdict is None
    ledger.decide(number, Verdict(word=VerdictWord.REFUTED, reason="no", observed={"loss@1": float("nan")}))
    assert ledger.predict(HYPOTHESIS) == 2
    first, second = Ledger(tmp_path).entries()
    assert first.verdict.word is VerdictWord.REFUTED and second.verdict is None
    assert first.hypothesis == HYPOTHESIS and first.hypothesis.text == "warmup_ratio=0.1"


def test_ledger_survives_a_torn_line_and_refuses_a_foreign_one(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.predict(HYPOTHESIS)
    with ledger.path.open("a") as stream:
        stream.write('{"kind": "verd')
    assert len(ledger.entries()) == 1
    assert ledger.predict(HYPOTHESIS) == 2
    assert len(ledger.entries()) == 2
    ledger.path.write_text('{"a": 1}\n' + ledger.path.read_text())
    with pytest.raises(ReadError, match="could not read the ledger") as caught:
        ledger.entries()
    assert "ledger.jsonl:1" in caught.value.where


class Scripted:
    """An engine that looks at the ledger while it runs, and answers from a function of the overrides."""

    def __init__(self, folder, answer):
        self.folder, self.answer, self.predictions_seen = folder, answer, None

    def run(self, trials):
        self.predictions_seen = [e.verdict for e in Ledger(self.folder).entries()]
        for index, trial in enumerate(trials):
            yield index, self.answer(trial)


def test_attempt_predicts_first_then_replays(tmp_path):
    engine = Scripted(tmp_path, lambda trial: result(8.7 if trial.overrides.get("fixed") else 69.5))
    target = Target(name="m:f", settings={"seed": 1}, folder=tmp_path)
    made = attempt(target, {"fixed": True}, "loss@1 < 10", engine=engine)
    assert engine.predictions_seen == [None], "the prediction stood in the ledger before any trial ran"
    assert made.entry.verdict.word is VerdictWord.CONFIRMED
    assert json.loads((tmp_path / "ledger.jsonl").read_text().splitlines()[1])["word"] == "confirmed"
    assert made.base.series["loss"][0] == 69.5 and made.changed.series["loss"][0] == 8.7


def test_relative_settings_are_taken_of_the_targets_own(tmp_path):
    seen = []

    def answer(trial):
        seen.append(trial.overrides.get("learning_rate"))
        return result(5)

    target = Target(name="m:f", settings={"learning_rate": 0.001}, folder=tmp_path)
    attempt(target, {"learning_rate": "/10"}, "loss@1 < 1", engine=Scripted(tmp_path, answer))
    assert seen == [0.001, 0.001, pytest.approx(0.0001)]
    with pytest.raises(ConfigError, match="relative"):
        attempt(target, {"weight_decay": "*10"}, "loss@1 < 1", engine=Scripted(tmp_path, answer))


def test_a_prediction_that_is_none_reaches_no_ledger(tmp_path):
    with pytest.raises(ConfigError):
        attempt(Target(name="m:f", folder=tmp_path), {}, "loss@1", engine=Scripted(tmp_path, None))
    assert not (tmp_path / "ledger.jsonl").exists()


def test_factors_know_their_phase_and_what_they_cannot_have_caused():
    assert {row.phase for row in FACTORS.values()} == set(PHASES)
    assert "no number" in why_not("report_to", Stage.LOSS, 0)
    for setting in ("warmup_ratio", "learning_rate", "max_grad_norm", "weight_decay", "optim"):
        assert "none had been made" in why_not(setting, Stage.BACKWARD, 0), setting
        assert why_not(setting, Stage.BACKWARD, 5) is None, setting
    for setting in ("gradient_accumulation_steps", "fp16", "versions.transformers", "something_new"):
        assert why_not(setting, Stage.LOSS, 0) is None, setting
    assert "after loss" in why_not("gradient_checkpointing", Stage.LOSS, 0)
