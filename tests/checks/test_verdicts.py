"""What words say of a run: names times values, made mechanically, and near misses that say nothing bad."""

from itertools import product

import pytest

from holter.checks.configuration.variants_separate import SettingSeparatesRuns
from holter.checks.loss.nothing_learnt_told import NothingLearntInWords
from holter.checks.loss.written_rise import WrittenLossesRise
from holter.checks.loss.zero_advantage import RewardsEqualWithinGroups
from holter.checks.loss.zero_without_gradient import NothingSupervised
from holter.checks.numerics.non_finite_loss import NonFiniteLoss
from holter.checks.verdicts import kept_at, tells_bad, tells_nan
from holter.testing import make_run

LOSSES = """
loss my_loss loss_seen trainLoss LOSS Train-loss ctc_loss loss_ctc dice_loss nll cost objective first_loss loss_first
final_cost loss_next cost_within_first_epoch loss_at_step_100 loss_from_step_600 total_loss after_resume_loss
loss0 split_train_loss1 nll2
""".split()  # noqa: SIM905
NOT_FINITE = (
    *("nan", "NaN", "-nan", "inf", "not a number", "becomes NaN", "turns to nan at once", "nan after step 3"),
    *("2.3, then nan", "all NaN from the first step", "goes to infinity", "not finite", "is NaN", "5.1 -> nan"),
)
FINITE = (
    *("2.3", "none", "no nan", "never nan", "nan, fixed by bf16", "nan until I changed the seed", "finite", "nan: no"),
    *("2.3 -> 0.4", "falls", "not nan", "nancy", "info", "nan_filter"),
)
NO_LOSSES = "nan_filter nan_rows_removed loss_scale loss_weight weight_loss loss_type expected_loss val_loss"


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


ALWAYS_ZERO = (
    "0.0 in each log line",
    "always 0",
    "0 all the time",
    "stays at 0",
    "zero at every step",
    "0.0 throughout",
    "0, always",
    "0.0 (always)",
    "exactly 0 at each step",
    "0.0 from the first step",
    "0.0 for every batch",
    "zero from the start",
    "0.0, constant",
    "0.0 in all log lines",
    "loss is always 0.0",
    "0.0 at all steps",
    "is 0.0 throughout training",
    "0 the whole training",
    "0.0 on every prompt",
    "0.0 but never changes",
)
ALWAYS_THE_SAME = (
    "constant 1.0",
    "1.0 from step 60 on",
    "about 11.4 for a long time",
    "stuck at 2.3",
    "remains at 10.8",
    "11.2 and does not fall",
    "11.4, never drops",
    "10.9 for 20000 steps",
    "1.0 since step 40 on",
    "~10.4 throughout",
)
NOT_KEPT = (
    "0.0",
    "0",
    "0.0 at step 0",
    "0.0 at the first step",
    "not always 0",
    "never 0",
    "close to 0 all the time",
    "almost always 0",
    "0.0 to 0.4",
    "2.3 then 0.0",
    "0.0 at first, then 0.5",
    "1.0 at the end",
    "0.02 after epoch 3",
    "falls to 0",
    "1.0 after step 60",
    "0.0 until step 40",
    "2.3 at each epoch, falling",
    "0.0 for some steps",
    "always below 0.5",
    "from 11.4 to 6",
    "11.4 at the start",
    "11.4 for 50 steps of warmup",
    "0.0 in every line but the last",
    "2.3 from the start, falls to 1.1",
    "97% in all epochs",
    "0.0 -> 1.3 throughout",
    "0-1 always",
    "none",
    "nan always",
)
MAIN_LOSSES = ("loss", "train_loss", "my_loss", "Loss seen", "lm_loss", "sft_loss", "total_loss", "training-loss")
PARTS = ("aux_loss", "balance_loss", "kl_loss", "eval_loss", "loss_scale", "loss_weight", "router_z_loss")
REWARDS = ("reward/overall", "critic/score/mean", "mean_reward", "rewards.mean", "train/reward", "env_reward", "score")
NO_REWARDS = (
    "format_reward",
    "reward_weight",
    "length_penalty_reward",
    "kl",
    "reward_model",
    "reward_clip",
    "f1_score",
)


@pytest.mark.parametrize(
    ("said", "kept"), [*product((*ALWAYS_ZERO, *ALWAYS_THE_SAME), [True]), *product(NOT_KEPT, [False])]
)
def test_what_is_said_to_stay_is_told_from_a_moment_and_a_course(said, kept):
    assert (kept_at(said) is not None) is kept


@pytest.mark.parametrize(("name", "said"), list(product(MAIN_LOSSES, ALWAYS_ZERO)))
def test_a_loss_of_zero_that_stays_is_no_loss(name, said):
    assert list(NothingSupervised().detect(make_run(files={"observed.yaml": f"{name}: {said!r}\n"})))


@pytest.mark.parametrize(("name", "said"), [*product(PARTS, ALWAYS_ZERO[:5]), *product(MAIN_LOSSES, NOT_KEPT[2:])])
def test_a_part_of_it_or_a_moment_of_zero_is_fine(name, said):
    assert not list(NothingSupervised().detect(make_run(files={"observed.yaml": f"{name}: {said!r}\n"})))


def _of_rewards(name, said, algorithm):
    return list(
        RewardsEqualWithinGroups().detect(make_run(config=algorithm, files={"observed.yaml": f"{name}: {said}\n"}))
    )


GROUPED = ({"algorithm": "grpo"}, {"algorithm.adv_estimator": "rloo"}, {"task": "grpo math"})


@pytest.mark.parametrize(
    ("name", "said", "run"), list(product(REWARDS, ("0.0", *ALWAYS_ZERO[:3], *ALWAYS_THE_SAME[:2]), GROUPED))
)
def test_rewards_that_stay_the_same_teach_nothing(name, said, run):
    assert _of_rewards(name, said, run)


@pytest.mark.parametrize(
    ("name", "said", "run"),
    [
        *product(REWARDS, (*NOT_KEPT[2:-1], "0.3"), GROUPED[:1]),
        *product(NO_REWARDS, ALWAYS_ZERO[:5], GROUPED[:1]),
        *product(REWARDS, ("0.0",), [{"task": "sft"}]),
    ],
)
def test_rewards_that_move_and_parts_of_them_do_not(name, said, run):
    assert not _of_rewards(name, said, run)


FIRSTS = ("loss_start", "initial_loss", "loss_at_step_0", "first_loss")
LOWS = ("loss_then", "loss_after_900_steps", "loss_step_900", "loss_at_epoch_2", "loss_later")
LASTS = ("loss_after_38000_steps", "loss_end", "final_loss", "loss_after_38k_steps", "last_loss", "loss_eventually")
UP_AGAIN = (("4", "1.5", "6"), ("4", "about 1.5", "about 6, very bad downstream"), ("9.5", "~2", "around 7.2"))
DOWN = (("4", "1.5", "1.4"), ("4", "about 1.5", "about 1.7"), ("10.8", "~3", "4 to 5"), ("9", "2.5", "3, then 1.9"))


def _course(names, values):
    text = "".join(f"{name}: {value}\n" for name, value in zip(names, values, strict=True))
    return list(WrittenLossesRise().detect(make_run(files={"observed.yaml": text})))


@pytest.mark.parametrize(
    ("names", "up", "down"), list(product(product(FIRSTS[:2], LOWS, LASTS), UP_AGAIN[1:2], DOWN[1:2]))
)
def test_three_moments_of_a_loss_are_a_course(names, up, down):
    assert _course(names, up)
    assert not _course(names, down)


@pytest.mark.parametrize(("names", "up", "down"), list(product(product(FIRSTS, LOWS[:2], LASTS[:1]), UP_AGAIN, DOWN)))
def test_a_course_is_read_in_numbers_and_in_words(names, up, down):
    assert _course(names, up)
    assert not _course(names, down)


STUCK_AT = (
    "about 11.4 for a long time",
    "stays at 10.8",
    "10.4 from the start on",
    "roughly 11.9 throughout",
    "11.2, never drops",
)
NOT_STUCK = (
    *(
        "about 11.4 at the start",
        "11.4, then 3.2",
        "10.8 for 50 steps of warmup",
        "from 11.4 to 2.3",
        "0.02 throughout",
    ),
    *("about 11.4", "2.1", "11.4 until step 100", "about 0.3 for a long time"),
)


@pytest.mark.parametrize(("name", "said"), list(product(MAIN_LOSSES, STUCK_AT)))
def test_a_loss_that_stays_at_that_of_guessing_is_seen(name, said):
    found = list(NothingLearntInWords().detect(make_run(files={"observed.yaml": f"{name}: {said!r}\n"})))
    assert any(clue.cause == "lr-zero" and clue.bits > 3 for one in found for clue in one.clues)


@pytest.mark.parametrize(("name", "said"), [*product(MAIN_LOSSES, NOT_STUCK), *product(PARTS, STUCK_AT)])
def test_a_loss_at_its_start_or_at_its_end_is_not(name, said):
    assert not list(NothingLearntInWords().detect(make_run(files={"observed.yaml": f"{name}: {said!r}\n"})))
