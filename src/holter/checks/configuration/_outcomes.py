"""Which rows of a table of runs belong together, and which of these runs failed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from holter.checks.configuration._columns import setting_of
from holter.checks.configuration._conditions import conditions
from holter.checks.configuration._outcome_words import (
    BESIDE_PRECISION,
    CHANGES,
    CORRECTED,
    DATA,
    FINE_WORDS,
    FLAGS,
    LABELS,
    MASKS,
    MEASURED_SHARE,
    OTHER_NUMBER,
    PROGRESS,
    REPEATS,
    STAYS,
    TENS,
    TROUBLE,
    UNTRAINED,
    WORDS,
)
from holter.checks.look import is_off, is_on
from holter.checks.noted import approximate
from holter.checks.symptoms import number, numbers
from holter.checks.verdicts import tells_bad, tells_nan
from holter.names import config_name
from holter.patterns import regex
from holter.quantity import ERROR, GRADIENT, LOSS, RATE, SCORE, is_result, quantity
from holter.run import Value

NAN, BEHIND, SAID, NO_RATE, NO_GRADIENT, LARGE = "nan", "behind", "said", "rate", "still", "large"
"""How a run failed: not finite; behind the others; in words; a rate or a gradient of 0; a gradient far larger."""

TOLD_NUMBER = regex(
    r"\b(loss|accuracy|acc|f1|bleu|wer|cer|perplexity|ppl|mcc)(?: (?:of|is|stays|stuck|at|around|about)|:)* ?~?"
    r"(\d+(?:\.\d+)?)(?![\w.%])"
)
"""A result within words: ``loss 2.3, still falling``."""

ALIKE = 0.1
"""Share by which the numbers of two runs may differ that went alike, whatever the runs are called."""

FALL = 0.2
"""Share of the scale of a score (1, or 100) below the best run that counts as failed: far beyond seed noise."""

CHANCE = 0.5
"""Share of right answers that guessing gives in the easiest case, two classes."""

HALF = 0.5
OF_TEXT = regex(r"bleu|rouge|meteor", re.I)
"""Scores of generated text never come near 1: half of what another run reaches is far behind."""

SEED_FALL = 0.1
"""The same between runs that differ in the seed alone: seeds scatter by a few hundredths."""

RISE = 1.5
"""Final loss relative to the best run that counts as failed."""

SAME_RISE = 1.2
SAME_FALL = 0.07
"""The same between runs that differ only in how one and the same thing is computed: it ought to change nothing."""

WAYS_TO_COMPUTE = frozenset(
    {"attn_implementation", "precision", "torch_dtype", "devices", "use_fast", "gradient_checkpointing", "framework",
     "torch_compile", "deepspeed_stage", "padding_side", "version", "batched", "padded", "per_device_eval_batch_size"}
)  # fmt: skip

GRADIENT_FACTOR = 1000.0
"""Ratio of the gradient norms of two runs of one model that no setting makes by itself: clipping is not in the norm,
and batch sizes and lengths change it by small factors."""


@dataclass(kw_only=True)
class Group:
    """Rows of one run.

    Attributes:
        settings: what was set.
        rows: its rows in order.
        failed: how it failed, empty when it did not.
        judged: whether anything says how it went.
    """

    settings: dict[str, Value]
    rows: list[Mapping[str, Value]] = field(default_factory=list)
    failed: str = ""
    judged: bool = False


def groups_of(rows: Sequence[Mapping[str, Value]]) -> list[Group]:
    """The runs of a table, judged against each other; rows of a model before training are left out."""
    groups: dict[str, Group] = {}
    for row in map(described, rows):
        settings = {name: value for name, value in row.items() if is_setting(name, value) and not _scored(name, row)}
        if any(UNTRAINED.match(name) and is_off(value.value) for name, value in settings.items()):
            continue
        key = repr(sorted((name, repr(value.value)) for name, value in settings.items()))
        groups.setdefault(key, Group(settings=settings)).rows.append(row)
    found = list(groups.values())
    for group in found:
        group.failed = _failure(group, found) or _told_apart(group, found)
        group.judged = bool(group.failed) or any(is_outcome(name) for row in group.rows for name in row)
    if not any(group.judged and not group.failed for group in found) and any(group.failed for group in found):
        for group in found:
            group.judged = True  # runs of which nothing is said are what the failed ones are held against
    return found


def _scored(name: str, row: Mapping[str, Value]) -> bool:
    """Whether a column called precision holds the score of that name."""
    amount = number(row[name].value)
    return name == "precision" and amount is not None and any(BESIDE_PRECISION.match(other) for other in row)


def _told_apart(group: Group, groups: Iterable[Group]) -> str:
    """Whether another run is called the corrected one, and this one is not."""

    def corrected(one: Group) -> bool:
        return any(CORRECTED.search(str(value.value).lower()) for value in one.settings.values())

    if corrected(group):
        return ""
    return SAID if any(corrected(other) and not _alike(group, other) for other in groups) else ""


def _alike(group: Group, other: Group) -> bool:
    """Whether the last rows of two runs have numbers in common, all of which are nearly the same."""
    ours, theirs = ({n: number(v.value) for n, v in g.rows[-1].items() if n not in PROGRESS} for g in (group, other))
    pairs = [(a, b) for n, a in ours.items() if a is not None and (b := theirs.get(n)) is not None]
    return bool(pairs) and all(math.isclose(a, b, rel_tol=ALIKE) for a, b in pairs)


def described(row: Mapping[str, Value]) -> dict[str, Value]:
    """A row with the settings that the description of the run names, such as ``8 GPUs, fp16``."""
    found = dict(row)
    for name, value in row.items():
        if name.lower() in LABELS and isinstance(value.value, str):
            for setting, given in conditions(value.value).items():
                found.setdefault(setting, replace(value, value=given))
        for match in (
            TOLD_NUMBER.finditer(value.value.lower()) if name in WORDS and isinstance(value.value, str) else ()
        ):
            found.setdefault(match[1], replace(value, value=float(match[2])))
    return found


def is_setting(name: str, value: Value) -> bool:
    """Whether a column was set rather than observed."""
    if config_name(name) == name or name in _NOT_RESULTS:
        return name not in PROGRESS
    if (
        name in PROGRESS
        or name in WORDS
        or FLAGS.match(name)
        or TROUBLE.match(name)
        or OTHER_NUMBER.search(name)
        or MEASURED_SHARE.match(name)
    ):
        return False
    if MASKS.search(name):
        return True
    if isinstance(value.value, str) and value.value.strip().lower() in FINE_WORDS:
        return False
    return not is_result(name) and not _is_broken(value)


def _is_broken(value: Value) -> bool:
    """Whether a cell holds NaN or an infinity, which nobody sets."""
    amount = value.value
    return isinstance(amount, float) and not math.isfinite(amount)


_NOT_RESULTS = frozenset({"max_grad_norm", "learning_rate", "lr"})


def kind_of(name: str) -> str:
    """What kind of result a column holds, empty for a setting."""
    found = quantity(name)
    if found is None or config_name(name) == name or name in _NOT_RESULTS or not is_result(name):
        return ""
    return found.kind


def is_outcome(name: str) -> bool:
    """Whether a column says how the run went."""
    return name in WORDS or bool(kind_of(name)) or FLAGS.match(name) is not None or TROUBLE.match(name) is not None


def _failure(group: Group, groups: Iterable[Group]) -> str:
    for row in group.rows:
        for name, value in row.items():
            if TROUBLE.match(name) and (is_on(value.value) or (number(value.value) or 0.0) > 0.0):
                return SAID
            if (kind_of(name) != SCORE and _is_broken(value)) or (FLAGS.match(name) and is_off(value.value)):
                return NAN if _is_broken(value) else SAID
            if (
                isinstance(value.value, str)
                and is_outcome(name)
                and tells_bad(value.value, of_score=kind_of(name) == SCORE)
            ):
                return NAN if tells_nan(value.value) else SAID
            if isinstance(value.value, str) and _changes_alone(name, value.value, groups):
                return SAID
            if _worst_possible(name, number(value.value)) and _said_fine((name, *WORDS), groups):
                return NO_GRADIENT if kind_of(name) == GRADIENT else BEHIND
            if kind_of(name) in (LOSS, GRADIENT) and any(not math.isfinite(v) for v in numbers(value.value)):
                return NAN
    last = group.rows[-1]
    for name, value in last.items():
        amount = _amount(name, value)
        limits = _limits(groups)
        if (
            amount is not None
            and math.isfinite(amount)
            and _far_behind(name, amount, _peers(name, group, groups), *limits)
        ):
            return {RATE: NO_RATE, GRADIENT: NO_GRADIENT if amount == 0.0 else LARGE}.get(kind_of(name), BEHIND)
    return ""


def _worst_possible(name: str, amount: float | None) -> bool:
    """Whether a loss or gradient is exactly 0.0, or a score no better than guessing."""
    if amount is None:
        return False
    kind = kind_of(name)
    return (kind in (LOSS, GRADIENT) and amount == 0.0) or (kind == SCORE and amount <= CHANCE)


def _said_fine(names: Iterable[str], groups: Iterable[Group]) -> bool:
    """Whether another run is described, in one of the columns, in words that are not bad."""
    cells = [row[name].value for name in names for group in groups for row in group.rows if name in row]
    return any(isinstance(cell, str) and not tells_bad(cell) for cell in cells)


def _peers(name: str, group: Group, groups: Iterable[Group]) -> list[float]:
    """The results of the runs on the same data."""
    on = _data(group)
    found = [_amount(name, peer.rows[-1][name]) for peer in groups if name in peer.rows[-1] and _data(peer) == on]
    return [amount for amount in found if amount is not None and math.isfinite(amount)]


def _data(group: Group) -> list[tuple[str, str]]:
    return sorted((name, repr(value.value)) for name, value in group.settings.items() if DATA.match(name))


def _amount(name: str, value: Value) -> float | None:
    """A number, and of losses and scores also one with words around it: ``about 97%``, ``5 to 10``, ``7x%``."""
    amount = number(value.value)
    if amount is not None or kind_of(name) not in (LOSS, SCORE, ERROR) or not isinstance(value.value, str):
        return amount
    tens = TENS.match(value.value.strip().lower())
    return 10.0 * float(tens[1]) + 5.0 if tens is not None else approximate(value.value)


def _changes_alone(name: str, text: str, groups: Iterable[Group]) -> bool:
    """Whether a result is told to change here, and to be the same in another run."""
    if name not in WORDS or not CHANGES.match(text.strip().lower()):
        return False
    cells = [row[name].value for group in groups for row in group.rows if name in row]
    return any(isinstance(cell, str) and STAYS.match(cell.strip().lower()) for cell in cells)


def _limits(groups: Iterable[Group]) -> tuple[float, float]:
    """How far below, and how many times above the best run a result lies of a run that failed, by what was varied."""
    settings = [group.settings for group in groups]
    names = {name for given in settings for name in given}
    differing = {n for n in names if len({repr(g[n].value) if n in g else "" for g in settings}) > 1}
    if differing and differing <= {"seed", *REPEATS}:
        return SEED_FALL, RISE
    varied = {setting_of(n, *(g.get(n) for g in settings)).split(".")[0] for n in differing}
    alike = bool(varied) and varied <= {*WAYS_TO_COMPUTE, "versions"}
    return (SAME_FALL, SAME_RISE) if alike else (FALL, RISE)


def _far_behind(name: str, amount: float, peers: list[float], fall: float = FALL, rise: float = RISE) -> bool:
    kind = kind_of(name)
    if len(peers) < 2:
        return False
    if kind == SCORE:
        scale = 100.0 if max(peers) > 1.0 else 1.0
        half = OF_TEXT.search(name) is not None and amount <= HALF * max(peers)
        return half or max(peers) - amount >= fall * scale or (amount == 0.0 and max(peers) > 0.0)
    if kind == RATE:
        return amount == 0.0 and max(peers) > 0.0
    if kind == GRADIENT:
        least = min((peer for peer in peers if peer > 0.0), default=math.inf)
        return (amount == 0.0 and max(peers) > 0.0) or amount >= GRADIENT_FACTOR * least
    if kind not in (LOSS, ERROR):
        return False
    learnt = [peer for peer in peers if peer > 0.0]
    return bool(learnt) and ((amount == 0.0 and kind == LOSS) or amount >= rise * min(learnt))
