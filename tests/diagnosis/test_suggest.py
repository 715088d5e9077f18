"""The next measurement: the cheapest that tells the causes apart; and the fix in the user's own file."""

from __future__ import annotations

import shlex

import click
import pytest
from stub_findings import finding

from holter import cli
from holter.diagnosis.causes import CAUSES
from holter.diagnosis.consequences import consequences, explained_away
from holter.diagnosis.remedy import remedy
from holter.diagnosis.result import RankedCause
from holter.diagnosis.suggest import MOST_SUGGESTIONS, suggest
from holter.diagnosis.suspects import suspects
from holter.diagnosis.weigh import weigh
from holter.experiments.expression import parse
from holter.finding import Basis, Clue
from holter.run import Run
from holter.stages import Stage
from holter.testing import make_run

NAN = float("nan")


def ranked(cause: str, confidence: float) -> RankedCause:
    return RankedCause(cause=cause, title="", confidence=confidence, basis=Basis.INFERRED, explanation="", evidence=())


def test_a_named_cause_is_confirmed_first() -> None:
    causes = [ranked("fp16-overflow", 0.8), ranked("labels-all-masked", 0.2)]
    assert [n.separates[0] for n in suggest(causes, [])] == ["fp16-overflow", "labels-all-masked"]


def test_even_odds_come_before_long_shots() -> None:
    causes = [ranked("fp16-overflow", 0.45), ranked("attention-kernel-bug", 0.05)]
    assert suggest(causes, [])[0].separates[0] == "fp16-overflow"


def test_cheap_comes_before_dear_at_equal_odds() -> None:
    causes = [ranked("seed-instability", 0.4), ranked("label-out-of-range", 0.4)]
    assert suggest(causes, [])[0].separates == ("label-out-of-range", "seed-instability")


def test_few_and_without_repetition() -> None:
    causes = [ranked(c, 0.2) for c in ("fp16-overflow", "eval-leak", "pad-equals-eos", "lr-zero", "overfitting")]
    found = suggest(causes, [])
    assert len(found) == MOST_SUGGESTIONS == len({n.measure for n in found})


@pytest.mark.parametrize(("stage", "wanted"), [(Stage.LOSS, "Guard"), (Stage.DATA, "Check data")])
def test_without_a_cause_there_is_still_something_to_do(stage: Stage, wanted: str) -> None:
    assert wanted in suggest([], [finding(stage=stage)])[0].measure


def test_what_one_command_settles_is_one_suggestion() -> None:
    causes = [ranked("labels-all-masked", 0.3), ranked("fully-masked-attention-nan", 0.3), ranked("lr-zero", 0.2)]
    first = suggest(causes, [])[0]
    assert first.command == "holter check RECIPE"
    assert first.separates == ("labels-all-masked", "fully-masked-attention-nan", "lr-zero")
    assert "-100" in first.measure and "visible key" in first.measure


@pytest.mark.parametrize("label", sorted(label for label, c in CAUSES.items() if c.confirm.command))
def test_commands_are_ones_that_exist(label: str) -> None:
    words = shlex.split(CAUSES[label].confirm.command)
    assert words.pop(0) == "holter"
    command = cli.group.get_command(click.Context(cli.group), words.pop(0))
    assert command is not None
    parameters = command.make_context("holter", words).params
    if "expect" in parameters:
        parse(parameters["expect"])


def changes(cause: str, **config: object) -> list[tuple[str, object, object]]:
    score = weigh([finding(Clue(cause=cause, bits=5))])[cause]
    return [(c.key, c.old, c.new) for c in remedy(score, make_run(config=config)).changes]


def test_fp16_is_left_for_bf16_where_the_card_has_it() -> None:
    assert changes("fp16-overflow", fp16=True) == [("fp16", True, False)]
    assert changes("fp16-overflow", fp16=True, devices="A100") == [("fp16", True, False), ("bf16", None, True)]
    assert changes("fp16-overflow", fp16=True, devices="V100") == [("fp16", True, False)]


def test_values_come_from_this_run() -> None:
    assert changes("lr-too-high", learning_rate=1e-4) == [("learning_rate", 1e-4, 2e-5)]
    assert changes("lr-too-high") == []
    assert changes("grad-accum-loss-scale") == [("trainer.model_accepts_loss_kwargs", None, False)]


def test_consequences_need_their_observation() -> None:
    skipped = make_run(series={"loss": [0.0], "grad_norm": [NAN], "learning_rate": [0.0]})
    assert len(consequences("fp16-overflow", skipped)) == 2
    assert consequences("fp16-overflow", make_run(series={"loss": [2.0], "grad_norm": [1.0]})) == ()
    assert consequences("lr-too-high", skipped) == ()
    evaluated = make_run(series={"loss": [7e6, 0.0], "eval_loss": [NAN, NAN], "eval_bleu": [0.0, 0.0]})
    assert any("eval_bleu of 0" in sentence for sentence in consequences("fp16-overflow", evaluated))


def test_suspects_are_those_a_reader_would_have() -> None:
    written = make_run(config={"warmup_steps": 700, "max_grad_norm": 1.0, "load_in_8bit": False})
    assert suspects(written, None) == {"warmup-missing", "grad-clip-disabled", "grad-clip-too-strict"}
    assert "padding-multiple" in suspects(Run(), finding(step=0))
    assert suspects(Run(), finding(step=90)) == set()


def test_a_rate_of_zero_is_explained_by_skipped_steps_only() -> None:
    overflow, rate = Clue(cause="fp16-overflow", bits=5), Clue(cause="lr-zero", bits=8)
    skipped = make_run(series={"loss": [0.0], "grad_norm": [NAN], "learning_rate": [0.0]})
    stepping = make_run(series={"loss": [2.0], "grad_norm": [1.0], "learning_rate": [0.0]})
    both, alone = weigh([finding(overflow, rate)]), weigh([finding(rate)])
    assert "follows from skipped steps" in explained_away(skipped, both)["lr-zero"]
    assert explained_away(stepping, both) == {} == explained_away(skipped, alone)
