"""What words say of a run: names times values, made mechanically, and near misses that say nothing bad."""

from itertools import product

import pytest

from holter.checks.configuration.variants_separate import SettingSeparatesRuns
from holter.checks.numerics.non_finite_loss import NonFiniteLoss
from holter.checks.verdicts import tells_bad, tells_nan
from holter.testing import make_run

LOSSES = """
loss my_loss loss_seen trainLoss LOSS Train-loss ctc_loss loss_ctc dice_loss nll cost objective first_loss loss_first
final_cost loss_next cost_within_first_epoch loss_at_step_100 loss_from_step_600 total_loss after_resume_loss
""".split()  # noqa: SIM905
NOT_FINITE = (
    *("nan", "NaN", "-nan", "inf", "not a number", "becomes NaN", "turns to nan at once", "nan after step 3"),
    *("2.3, then nan", "all NaN from the first step", "goes to infinity", "not finite", "is NaN", "5.1 -> nan"),
)
FINITE = (
    *("2.3", "none", "no nan", "never nan", "nan, fixed by bf16", "nan until I changed the seed", "finite", "nan: no"),
    *("2.3 -> 0.4", "falls", "not nan", "nancy", "info", "nan_filter"),
)
NO_LOSSES = (
    "nan_filter nan_rows_removed loss_scale loss_weight weight_loss loss_type expected_loss val_loss"
)


@pytest.mark.parametrize(("name", "value"), list(product(LOSSES, NOT_FINITE)))
def test_a_loss_that_is_not_finite_is_seen_under_any_name_and_in_any_words(name, value):
    assert list(NonFiniteLoss().detect(make_run(files={"observed.yaml": f"{name}: {value}\n"})))


@pytest.mark.parametrize(("name", "value"), list(product(LOSSES, FINITE)))
def test_a_loss_that_is_finite_is_not(name, value):
    assert not list(NonFiniteLoss().detect(make_run(files={"observed.yaml": f"{name}: '{value}'\n"})))


@pytest.mark.parametrize("name", NO_LOSSES.split())
def test_a_nan_elsewhere_is_no_loss_of_training(name):
    assert not list(NonFiniteLoss().detect(make_run(files={"observed.yaml": f"{name}: nan\nloss: 0.4\n"})))


def test_a_loss_of_another_run_is_not_this_one():
    text = "loss_without_my_change: nan\nloss: 0.4\n"
    assert not list(NonFiniteLoss().detect(make_run(files={"observed.yaml": text})))


BAD = (
    *("gradient explosion", "blow-up", "blows up", "turns NaN", "diverges", "gets stuck", "does not learn", "collapse"),
    *("doesn't converge", "garbage output", "nonsense", "loss climbs", "goes up", "unstable", "never improves"),
)
GOOD = (
    *("stable", "trains", "learns", "okay", "converges", "goes down nicely", "as expected", "steady", "healthy"),
    *("no explosion", "no nan", "never diverges", "without any instability", "no signs of collapse", "coherent text"),
)


@pytest.mark.parametrize(("bad", "good"), list(product(BAD, GOOD)))
def test_runs_are_told_apart_by_what_is_said_of_them(bad, good):
    rows = [{"learning_rate": 1e-4, "result": bad}, {"learning_rate": 5e-5, "result": good}]
    assert list(SettingSeparatesRuns().detect(make_run(variants=rows)))


@pytest.mark.parametrize("said", GOOD)
def test_what_went_well_is_not_bad(said):
    assert not tells_bad(said)
    assert not tells_nan(said)


def test_a_score_that_rises_is_good():
    assert tells_bad("increases")
    assert not tells_bad("increases", of_score=True)
