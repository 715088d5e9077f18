"""LOS014 rewards-equal-within-groups."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import is_reinforcement, task_words
from holter.checks.look import known, written
from holter.checks.messages import quote, statements
from holter.checks.noted import noted
from holter.checks.shape import Shape, point, shape, updates_before
from holter.checks.symptoms import always_zero, number, numbers
from holter.checks.verdicts import kept_at
from holter.finding import Evidence, Finding, Severity
from holter.patterns import regex
from holter.run import Run, Series
from holter.stages import Stage

MOST = 0.9
"""Share of groups, or of log lines, without any spread. Up to a half is ordinary: easy and hopeless prompts exist."""


MOST_WRITTEN = 0.75
"""The same as one number for a whole run, in which late groups, that are solved, count beside early ones."""

ONE_ANSWER = regex(
    r"^(?:unique|distinct|different) (?:completions?|answers?|responses?|samples?|rewards?"
    r"|outputs?)(?: (?:texts?|values?))?"
    r"(?: (?:per|in|within) (?:a |each )?(?:group|prompt))?$"
)
"""Names of how many answers of a group differ: where it is one, so is the reward."""

RELATIVE = regex(r"grpo|rloo|dapo|gspo", re.I)

SHARE = regex(
    r"^(?:frac|fraction|share|ratio|portion)_(?:of_)?(?:\w+_)?(?:groups?"
    r"|prompts?)_(?:\w+_)?(?:equal|same|identical|constant"
    r"|without_spread|zero_(?:std|advantage)|no_signal)\w*$",
    re.I,
)
"""Names of a share of groups with one reward."""

SPREADS = ("reward_std", "rewards_std", "advantage", "advantages", "advantage_std", "advantages/mean", "advantage_mean")
"""Names of what is 0 where no answer is better than another."""

GROUP = regex(r"\brewards?\b.{0,20}\b(?:group|prompt|completions?|answers?|samples?)\b|\bgroup\b.{0,10}\brewards?\b")
"""Names of the rewards of one group."""

ALL_ALIKE = regex(r"(?:^|/)(?:all_(?:wrong|correct|right|equal|same)|zero_(?:var|variance|std|advantage)\w*)$", re.I)
"""Shares of groups whose answers are all wrong, or all right, or all rewarded alike."""

REWARD = regex(r"\b(?:rewards?|scores?|returns?)\b")
OF_ALL = regex(
    r"(?:(?:rewards?|scores?|returns?|critic|actor|train|training|mean|avg|average|overall|total|env|outcome|correctness"
    r"|accuracy|acc|answers?|final|last|batch|group|rule|func|each|all|sum)\s?)+"
)
"""Names of the reward as a whole; that of its form alone (``format_reward``) is soon learnt and then stays."""

EARLY = regex(r"(?:global |training |train )?(?:steps?|iterations?|updates?)$")

SPREAD_OF = regex(r"rewards?(?:_\w+)?(?:$|[_/ ])(?:.*[_/ ])?std$", re.I)
MEAN_OF = regex(r"rewards?(?:_\w+)?(?:$|[_/ ])(?:.*[_/ ])?mean$", re.I)
IN_A_LINE = regex(r"(?P<name>[a-z_][\w/]*(?: [a-z_][\w/]*){0,3}?)\s*[ =:]\s*(?P<value>-?\d[\d.]*(?:e[+-]?\d+)?)\b")
"""Names of the spread and of the mean of each reward, in series, and in lines that were not read as such."""

NEXT_TO_NOTHING = 0.01
"""Of a reward between 0 and 1: one answer in a hundred, where no other reward has any spread either."""

PARTS = 2
"""Numbers of rewards, a spread among them: of the whole and of one part, or at two points."""

LARGEST = regex(r"((?:advantages?|rewards?|scores?)[/_])max$", re.I)
"""The largest advantage or reward of a batch; the name of the smallest differs in its ending."""

FEW_STEPS = 50
FEW_LINES = 5
"""Updates, or log lines, after which some answer of a model that can be trained has got a reward."""

FEW_STILL = 4
"""Lines at which loss and gradient norm of a policy are both exactly 0.0: a single group may be all alike."""


class RewardsEqualWithinGroups(Check):
    """All answers of a group get the same reward, so there is no gradient.

    What it looks for: reward_std of exactly 0.0, or frac_reward_zero_std of 1.0, at nearly every point, with a gradient
    norm of 0.0 where it is logged. A policy loss of 0.0 by itself is normal: at the first of several updates on the
    same samples the ratio is one and the advantages average to zero.

    Why it hurts: advantages are rewards minus the mean of their group; if all are equal, every advantage is zero.

    How to fix it: a finer reward, more answers per prompt, a higher temperature, prompts that are neither trivial nor
    hopeless.

    When to ignore it: when only some groups are affected.

    Threshold: `MOST` of groups or points; `MOST_WRITTEN` of the groups of a whole run.

    Sources: Shao et al. 2024 (GRPO), equation for the group-relative advantage; TRL ``frac_reward_zero_std``.
    """

    code = "LOS014"
    name = "rewards-equal-within-groups"
    title = "Rewards do not differ within groups"
    severity = Severity.ERROR
    stage = Stage.LOSS
    factor = "num_generations"
    needs = Needs(
        any_of=(
            ("reward_std",),
            ("frac_reward_zero_std",),
            ("reward",),
            ("kl",),
            ("eval_kl",),
            ("loss",),
            ("grad_norm",),
            ("facts",),
            ("events",),
            ("variants",),
            ("num_generations",),
        )
    )

    def detect(self, run: Run) -> Iterator[Finding]:
        if not run.facts and not run.variants and not is_reinforcement(run) and not run.get("num_generations"):
            return
        sure = _said_of_all(run)
        evidence = _without_spread(run) or sure
        norms = run.series.get("grad_norm")
        moving = norms is not None and bool(shape(norms).bins) and shape(norms).high > 0.0
        if not evidence:
            return
        if moving and norms is not None and shape(norms).zeros < MOST * len(norms):
            if not sure and not _long_without_spread(run):
                return
            evidence = [*evidence, *sure]  # what moves the weights is a penalty, such as the distance from a reference
        if norms is not None and not moving and len(norms):
            evidence.append(point(norms, 0))
        step = updates_before(norms, 0) if norms is not None and len(norms) else None
        yield self.finding(
            "All answers of a group get the same reward: every advantage is zero, and so is the gradient",
            evidence=evidence,
            step=step,
            clues=clues(
                "the spread within groups is exactly zero", zero_advantage=7.0, lr_zero=-2, no_trainable_params=-1
            ),
        )

    bad = [
        case("no spread", series={"loss": [0.0], "grad_norm": [0.0], "reward_std": [0.0], "reward": [3.0]}),
        case("written down", facts={"reward_std": 0.0}),
        case("no reward ever", files={"observed.yaml": "step: 300\nloss: 0.0\nreward: 0.0\n"}),
        case("no gradient ever", series={"loss": [0.0] * 4, "grad_norm": [0.0] * 4, "reward": [0.2, 0.4, 0.3, 0.1]}),
        case(
            "a group of one",
            files={
                "a.py": "args = GRPOConfig(num_generations=1, learning_rate=1e-6)\n",
                "observed.yaml": "loss: 0.0\n",
            },
        ),
        case("always the same", facts={"reward/overall": "1.0 from step 60 on"}, config={"algorithm": "grpo"}),
        case("never one", facts={"critic/score/mean": 0.0}, config={"algorithm.adv_estimator": "grpo"}),
        case("one answer", facts={"unique_completions_per_group": 1}),
        case("extremes", files={"probe.yaml": "advantages: {min: 0.0, max: 0.0}\n"}),
        case(
            "a row",
            variants=[{"temperature": 0.1, "reward_std": 0.0}, {"temperature": 1.0, "reward_std": 0.3}],
        ),
        case("a group", facts={"rewards_in_group": [0.0, 0.0, 0.0]}),
        case("the share of groups", facts={"fraction_of_groups_equal": 0.8}),
        case(
            "all wrong, and a penalty that moves",
            series={"loss": [0.0], "grad_norm": [1.9], "reward_std": [0.0], "all_wrong": [1.0], "all_correct": [0.0]},
        ),
        case(
            "the extremes of a batch",
            series={"grad_norm": [0.005], "critic/advantages/max": [0.0], "critic/advantages/min": [0.0]},
        ),
        case(
            "without spread for long, and a penalty that moves",
            series={"reward_std": [0.0] * 6, "grad_norm": [0.02, 0.03, 0.02, 0.04, 0.02, 0.03]},
        ),
        case(
            "no part, and the whole hardly",
            series={
                "eval_total_rewards_mean": [0.003],
                "eval_total_rewards_std": [0.007],
                "eval_kl": [0.0],
                "eval_accuracy_reward_func_std": [0.0],
            },
            config={"task": "grpo"},
        ),
        case(
            "each part",
            series={
                "loss": [0.0],
                "rewards/accuracy_reward/std": [0.0],
                "rewards/format_reward/std": [0.0],
                "kl": [0.0],
            },
        ),
        case("the share says so", series={"frac_reward_zero_std": [1.0, 1.0, 1.0]}),
    ]
    good = [
        case("a normal start", series={"loss": [0.0], "grad_norm": [0.4], "reward_std": [0.7]}),
        case("a group with spread", facts={"rewards_in_group": [0.0, 1.0, 0.0]}),
        case("solved", facts={"reward": "1.0 at the end"}, config={"algorithm": "grpo"}),
        case("at the start", facts={"critic/score/mean": 0.0, "step": 0}, config={"algorithm.adv_estimator": "grpo"}),
        case("its form", facts={"format_reward": "1.0 from step 60 on"}, config={"algorithm": "grpo"}),
        case("of a classifier", facts={"score": "always 0.0"}),
        case("several answers", facts={"unique_completions_per_group": 6}),
        case(
            "low, and varied",
            series={
                "kl": [0.0, 0.0],
                "total_rewards_mean": [0.003, 0.02],
                "total_rewards_std": [0.03, 0.09],
                "accuracy_reward_func_std": [0.0, 0.0],
            },
        ),
        case("half of all groups", facts={"fraction_of_groups_equal": 0.5}),
        case("no reward yet", series={"loss": [0.0, 0.0], "reward": [0.0, 0.0]}),
        case("half of the groups", series={"frac_reward_zero_std": [0.5, 0.4], "reward_std": [0.2, 0.3]}),
        case(
            "extremes that differ",
            series={"grad_norm": [0.1], "critic/advantages/max": [1.2], "critic/advantages/min": [-0.9]},
        ),
        case(
            "some groups all wrong, some all right",
            series={"grad_norm": [0.3], "reward_std": [0.2], "all_wrong": [0.4], "all_correct": [0.2]},
        ),
        case("one batch without spread", series={"reward_std": [0.0], "grad_norm": [0.2]}),
        case("now and then", series={"reward_std": [0.5, 0.0, 0.4, 0.3], "grad_norm": [0.2, 0.0, 0.1, 0.2]}),
    ]
    not_enough = [case("no rewards", series={"eval_loss": [0.0]})]


def _one_group(run: Run) -> Evidence | None:
    """Rewards of one group that somebody listed, all the same."""
    listed = (fact for fact in noted(run) if GROUP.search(fact.words) and isinstance(fact.value, list))
    return next((f.evidence for f in listed if len(numbers(f.value)) > 1 and len(set(numbers(f.value))) == 1), None)


def _without_spread(run: Run) -> list[Evidence]:
    spread, share = run.series.get("reward_std"), run.series.get("frac_reward_zero_std")
    found: list[Evidence] = []
    if spread is not None and _mostly_zero(shape(spread), spread):
        found.append(point(spread, 0))
    if spread is None and (group := _one_group(run)) is not None:
        found.append(group)
    one = next((f.evidence for f in noted(run) if ONE_ANSWER.match(f.words) and number(f.value) == 1.0), None)
    few = known(run, "num_generations")
    alone = few.evidence if few is not None and number(few.plain) == 1.0 and _relative(run) else None
    found += [e for e in (one, alone, _in_rows(run)) if e is not None]
    if spread is None and (written := always_zero(run, *SPREADS)) is not None:
        found.append(written)
    if share is not None and shape(share).bins and shape(share).head >= MOST and shape(share).tail >= MOST:
        found.append(point(share, 0))
    for name, values in run.facts.items():
        amount = number(values[0].value)
        if SHARE.search(name) and amount is not None and amount >= MOST_WRITTEN:
            found.append(Evidence(text=f"{name} is {amount:g}", source=values[0].source, value=amount))
    if not found and spread is None and share is None:
        found += _always_nothing(run) or _no_part_differs(run) or _told_alike(run)
    return found


def _relative(run: Run) -> bool:
    """Whether advantages are taken against the other answers of a group."""
    words = [
        written(run.get("algorithm") or ""),
        task_words(run),
        *(call.name for code in run.code for call in code.calls),
    ]
    return any(RELATIVE.search(word) for word in words)


def _in_rows(run: Run) -> Evidence | None:
    """A run of a table without any spread of rewards, beside one that has some."""
    cells = [(number(row[n].value), row[n]) for row in run.variants for n in ("reward_std", "rewards_std") if n in row]
    still = next((value for amount, value in cells if amount == 0.0), None)
    if still is None or not any(amount for amount, _ in cells):
        return None
    return Evidence(text="reward_std is 0 in one of the runs", source=still.source, value=0.0)


def _always_nothing(run: Run) -> list[Evidence]:
    """A reward of exactly 0.0 at all points, with a loss of 0.0: no answer was ever better than another."""
    reward, loss, norm = (run.series.get(name) for name in ("reward", "loss", "grad_norm"))
    if reward is None or not len(reward) or loss is None or any(loss):
        return []
    if norm is not None and len(norm) >= FEW_STILL and not any(norm):
        return [point(reward, len(reward) - 1), point(loss, 0)]
    if any(reward):
        return []
    later = (reward.step(len(reward) - 1) or 0) >= FEW_STEPS
    return [point(reward, len(reward) - 1), point(loss, 0)] if later or len(reward) >= FEW_LINES else []


def _no_part_differs(run: Run) -> list[Evidence]:
    """Several rewards, of which none has a spread: exactly none, or next to none about means of next to nothing."""
    seen = [(n, v, point(s, i)) for n, s in run.series.items() if "reward" in n.lower() for i, v in enumerate(s)]
    for said in statements(run):
        if "reward" in said.folded and "std" in said.folded and said.kind != "fact":
            pairs = ((m["name"], number(m["value"].rstrip("."))) for m in IN_A_LINE.finditer(said.folded))
            seen += [(name, value, quote(said)) for name, value in pairs if value is not None and "reward" in name]
    spreads = [(n, v, e) for n, v, e in seen if SPREAD_OF.search(n)]
    means = [v for n, v, _ in seen if MEAN_OF.search(n)]
    if not spreads or len(seen) < PARTS:
        return []
    none = all(value == 0.0 for _, value, _ in spreads)
    hardly = bool(means) and max(map(abs, [*means, *(v for _, v, _ in spreads)])) <= NEXT_TO_NOTHING
    return [spreads[0][2], spreads[-1][2]] if none or hardly else []


def _told_alike(run: Run) -> list[Evidence]:
    """A reward that somebody tells to be the same all along, or the outcome of exactly 0 of relative advantages."""
    relative = _relative(run)
    if not relative and not is_reinforcement(run):
        return []
    told = [fact for fact in noted(run) if OF_ALL.fullmatch(fact.words) and REWARD.search(fact.words)]
    kept = next((fact.evidence for fact in told if kept_at(fact.value) is not None), None)
    if kept is not None:
        return [kept]
    shown = [fact.evidence for fact in told if number(fact.value) is not None]
    reward = run.series.get("reward")
    if reward is not None and len(reward) == 1 and reward.step(0) is None and reward.epoch(0) is None:
        shown.append(point(reward, 0))
    early = any(EARLY.match(fact.words) and (number(fact.value) or 0.0) < FEW_STEPS for fact in noted(run))
    return shown[:1] if relative and not early and not any(number(one.value) for one in shown) else []


def _said_of_all(run: Run) -> list[Evidence]:
    """What says of every group, or of the whole batch, that no answer was better than another."""
    share = run.series.get("frac_reward_zero_std")
    if share is not None and shape(share).bins and shape(share).low >= MOST:
        return [point(share, 0)]
    extremes = [s for name, s in run.series.items() if ALL_ALIKE.search(name) and shape(s).bins]
    if extremes and min(map(sum, zip(*extremes, strict=False)), default=0.0) >= MOST * _one(extremes):
        return [point(series, 0) for series in extremes if shape(series).high > 0.0]
    facts = {name: (number(values[0].value), values[0].source) for name, values in run.facts.items()}
    for name, (most, source) in facts.items():
        least = facts.get(re.sub(r"max$", "min", name), (None, source))[0]
        if most is not None and "advantage" in name and name.endswith("max") and most == least == 0.0:
            return [Evidence(text=f"{name} is 0, and so is the least", source=source, value=most)]
    for name, highest in run.series.items():
        lowest = run.series.get(LARGEST.sub(r"\1min", name)) if LARGEST.search(name) else None
        if lowest is not None and len(lowest) == len(highest) and _alike(highest, lowest):
            return [point(highest, 0), point(lowest, 0)]
    return []


def _one(shares: list[Series]) -> float:
    """1 where these are shares, infinity where they are counts, of which the whole is not known."""
    return 1.0 if max(shape(series).high for series in shares) <= 1.0 else math.inf


def _alike(highest: Series, lowest: Series) -> bool:
    return all(math.isfinite(a) and a == b for a, b in zip(highest, lowest, strict=True))


def _long_without_spread(run: Run) -> bool:
    spread = run.series.get("reward_std")
    return spread is not None and len(spread) >= FEW_LINES and shape(spread).zeros == len(spread)


def _mostly_zero(found: Shape, series: Series) -> bool:
    return len(series) > 0 and found.zeros >= MOST * len(series)
