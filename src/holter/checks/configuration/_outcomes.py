"""Which rows of a table of runs belong together, and which of these runs failed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from holter.checks.symptoms import NOT_FINITE, number, numbers
from holter.run import Value

LOSS = re.compile(r"(^|_|/|\.)(loss|perplexity|ppl)(_(first|last|final|end|start|min|max))?$", re.I)
SCORE = re.compile(
    r"(^|_|/|\.)(accuracy|acc|f1|mcc|bleu|chrf|rouge\w*|exact_match|em|success|auc|pearson|spearman|score)$", re.I
)
GRADIENT = re.compile(r"\bgrad(ient)?_norm$", re.I)
OTHER_NUMBER = re.compile(
    r"grad_norm|runtime|seconds|speed|memory|tokens_per|_relative|_pct|time$|surf_|vol_|error$", re.I
)
PROGRESS = frozenset({"step", "steps", "epoch", "epochs", "iteration", "iter", "global_step"})
WORDS = frozenset(
    {"result", "outcome", "observed", "status", "symptom", "comment", "note", "output", "behaviour", "behavior"}
)
BAD_WORDS = re.compile(
    r"nan|inf\b|diverg|fail|collaps|chance|worse|not (?:converge|learn|work)|doesn.t (?:converge|learn|work)|stuck|"
    r"same (?:logits?|outputs?|predictions?|answers?|class|label)|(?:one|single) class|gibberish|"
    r"(?:suddenly|loss) (?:increas|ris|grow|jump|spik)|never generat|"
    r"(?:larger|higher) (?:\w+ )?loss|"
    r"does not stop|never stops|"
    r"unstable|overflow|crash|error|broken|garbage|constant|random|explod|wrong|bad|zero|useless|0\.0"
)
FALL = 0.2
"""Share of the scale of a score (1, or 100) below the best run that counts as failed: far beyond seed noise."""

CHANCE = 0.5
"""Share of right answers that guessing gives in the easiest case, two classes."""

SEED_FALL = 0.1
"""The same between runs that differ in the seed alone: seeds scatter by a few hundredths."""

RISE = 1.5
"""Final loss relative to the best run that counts as failed."""


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
    """The runs of a table, judged against each other."""
    groups: dict[str, Group] = {}
    for row in rows:
        settings = {name: value for name, value in row.items() if is_setting(name, value)}
        key = repr(sorted((name, repr(value.value)) for name, value in settings.items()))
        groups.setdefault(key, Group(settings=settings)).rows.append(row)
    found = list(groups.values())
    for group in found:
        group.failed = _failure(group, found)
        group.judged = bool(group.failed) or any(_outcome(name) for row in group.rows for name in row)
    return found


def is_setting(name: str, value: Value) -> bool:
    """Whether a column was set rather than observed."""
    if name == "max_grad_norm":
        return True
    if name in PROGRESS or name in WORDS or OTHER_NUMBER.search(name):
        return False
    return not (LOSS.search(name) or SCORE.search(name))


def _outcome(name: str) -> bool:
    return name in WORDS or any(kind.search(name) is not None for kind in (LOSS, SCORE, GRADIENT))


def _failure(group: Group, groups: Iterable[Group]) -> str:
    for row in group.rows:
        for name, value in row.items():
            if isinstance(value.value, str) and _outcome(name) and BAD_WORDS.search(value.value.lower()):
                return "nan" if NOT_FINITE.match(value.value.lower()) else "said"
            if _worst_possible(name, number(value.value)) and _said_fine((name, *WORDS), groups):
                return "behind"
            if (LOSS.search(name) or GRADIENT.search(name)) and any(not math.isfinite(v) for v in numbers(value.value)):
                return "nan"
    last = group.rows[-1]
    for name, value in last.items():
        amount = number(value.value)
        fall = SEED_FALL if _seeds_only(groups) else FALL
        if amount is not None and math.isfinite(amount) and _far_behind(name, amount, _peers(name, groups), fall):
            return "behind"
    return ""


def _worst_possible(name: str, amount: float | None) -> bool:
    """Whether a loss is exactly 0.0, or a score no better than guessing."""
    if amount is None:
        return False
    return (LOSS.search(name) is not None and amount == 0.0) or (SCORE.search(name) is not None and amount <= CHANCE)


def _said_fine(names: Iterable[str], groups: Iterable[Group]) -> bool:
    """Whether another run is described, in one of the columns, in words that are not bad."""
    cells = [row[name].value for name in names for group in groups for row in group.rows if name in row]
    return any(isinstance(cell, str) and not BAD_WORDS.search(cell.lower()) for cell in cells)


def _peers(name: str, groups: Iterable[Group]) -> list[float]:
    found = [number(group.rows[-1][name].value) for group in groups if name in group.rows[-1]]
    return [amount for amount in found if amount is not None and math.isfinite(amount)]


def _seeds_only(groups: Iterable[Group]) -> bool:
    """Whether the runs differ in nothing but the seed."""
    settings = [group.settings for group in groups]
    names = {name for given in settings for name in given}
    return {n for n in names if len({repr(g[n].value) if n in g else "" for g in settings}) > 1} == {"seed"}


def _far_behind(name: str, amount: float, peers: list[float], fall: float = FALL) -> bool:
    if len(peers) < 2:
        return False
    if SCORE.search(name):
        scale = 100.0 if max(peers) > 1.0 else 1.0
        return max(peers) - amount >= fall * scale or (amount == 0.0 and max(peers) > 0.0)
    if GRADIENT.search(name):
        return amount == 0.0 and max(peers) > 0.0
    if LOSS.search(name) is None:
        return False
    learnt = [peer for peer in peers if peer > 0.0]
    return bool(learnt) and (amount == 0.0 or amount >= RISE * min(learnt))
