"""The language of symptoms: every example of the manual, unknowns, and errors that say where."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.errors import ConfigError
from holter.experiments.expression import parse
from holter.testing import make_run

NAN = float("nan")
BAD = make_run(
    series={"loss": [69.5, 60.0, 2.0], "grad_norm": [196.0, NAN, 3.0], "rewards/chosen": [0.5]},
    facts={"loss_factor": 8.01},
)
GOOD = make_run(series={"loss": [8.7, 8.0, 2.0], "grad_norm": [24.5, 20.0, 3.0]})


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("loss@1 > 40", True),
        ("loss@1 < 40", False),
        ("loss < 3", True),
        ("isnan(grad_norm@<=20)", True),
        ("isnan(grad_norm@1)", False),
        ("isfinite(grad_norm)", False),
        ("isfinite(loss)", True),
        ("grad_norm@1 / good.grad_norm@1 > 5", True),
        ("loss@1 / good.loss@1 ~= 8", True),
        ("loss@1 / good.loss@1 ~= 7", False),
        ("loss_factor ~= 8", True),
        ("last(loss) < first(loss) - 60", True),
        ("max(loss) == 69.5 and min(loss) == 2", True),
        ("not loss@1 > 40 or loss@2 == 60", True),
        ("count(loss@>1) == 2", True),
        ("-loss@1 < -60", True),
        ("`rewards/chosen` == 0.5", True),
        ("ln(280) - 5.6347 < 0.001", True),
        ("(loss@1 + loss@2) / 2 > 64", True),
        ("loss@1 / 0 > 1e300", True),
    ],
)
def test_truth(text, truth):
    assert parse(text).holds(BAD, good=GOOD).truth is truth


@pytest.mark.parametrize("text", ["loss@99 > 1", "eval_loss < 2", "isnan(eval_loss)", "loss@1 > 1 and eval_loss > 0"])
def test_what_was_not_logged_is_unknown(text):
    outcome = parse(text).holds(BAD)
    assert outcome.truth is None
    assert outcome.unknown


def test_unknown_does_not_matter_where_the_rest_decides():
    assert parse("loss@1 > 1 or eval_loss > 0").holds(BAD).truth is True
    assert parse("loss@1 < 1 and eval_loss > 0").holds(BAD).truth is False


def test_values_are_reported_as_written():
    outcome = parse("loss@1 / good.loss@1 > 5").holds(BAD, good=GOOD)
    assert outcome.values == {"loss@1": [69.5], "good.loss@1": [8.7]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("loss@1", "neither true nor false"),
        ("loss@1 >", "missing at the end"),
        ("loss@ > 1", "step number"),
        ("median(loss) > 1", "no function"),
        ("loss > 1 2", "did not expect"),
        ("(loss > 1", "expected ')'"),
        ("loss # 1", "no meaning"),
        ("__import__('os')", "no meaning"),
        ("(loss > 1) + 1 > 2", "number was expected"),
        ("not loss", "comparison was expected"),
        ("", "missing at the end"),
    ],
)
def test_errors_say_why_and_where(text, why):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert why in str(caught.value)
    assert "character" in caught.value.where
    assert caught.value.do


@given(st.text(max_size=40))
def test_any_text_gives_an_expression_or_a_config_error(text):
    try:
        parsed = parse(text)
    except ConfigError:
        return
    assert parsed.holds(BAD).truth in (True, False, None)


def test_division_by_zero_is_not_an_error():
    run = make_run(series={"a": [0.0], "b": [0.0]})
    assert parse("isnan(a / b)").holds(run).truth is True
    assert math.isinf(float("inf"))
