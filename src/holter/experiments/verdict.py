"""What a trial says of a prediction: confirmed, refuted or inconclusive, never more than it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from holter.experiments.expression import Outcome, Symptom
from holter.experiments.ledger import Verdict, VerdictWord
from holter.experiments.trial import CRASHED, TrialOutcome, TrialResult


def judge(
    prediction: Symptom, base: Sequence[TrialResult], changed: TrialResult, *, other_samples: bool = False
) -> Verdict:
    """The verdict on one prediction.

    Args:
        prediction: expected of the changed run; may refer to the unchanged one as ``base``.
        base: at least two unchanged replays; the difference between them is the yardstick of any effect.
        changed: the replay with one thing changed.
        other_samples: the change alters the samples by design, so that their fingerprints are bound to differ.
    """
    about_crashes = any(reference.removeprefix("base.") == CRASHED for reference in prediction.references)
    fatal = (TrialOutcome.TIMED_OUT,) if about_crashes else (TrialOutcome.TIMED_OUT, TrialOutcome.CRASHED)
    failed = next((r for r in [*base, changed] if r.outcome in fatal), None)
    if failed is not None:
        arm = "the changed" if failed is changed else "the unchanged"
        return _inconclusive(f"{arm} replay {_ended(failed)}")
    runs = [result.run() for result in base]
    before = [prediction.holds(run, base=runs[0]) for run in runs]
    after = prediction.holds(changed.run(), base=runs[0])
    spread = _spread(before)
    match = changed.fingerprints == base[0].fingerprints
    verdict = _decide(prediction, before, after, spread, match or other_samples or about_crashes)
    return Verdict(
        word=verdict.word,
        reason=verdict.reason + _remarks(changed, not match and other_samples),
        observed=_shown(after),
        base=_shown(before[0]),
        spread=spread,
        fingerprints_match=match,
    )


def _remarks(changed: TrialResult, other_samples: bool) -> str:
    ending = f"; it {_ended(changed)}" if changed.outcome is TrialOutcome.CRASHED else ""
    return ending + ("; the change alters the samples themselves" if other_samples and not ending else "")


def _decide(
    prediction: Symptom, before: Sequence[Outcome], after: Outcome, spread: dict[str, float], match: bool
) -> Verdict:
    if after.truth is None:
        return _inconclusive(f"the replay logged no {', '.join(after.unknown)}")
    if not match:
        return _inconclusive("the two arms did not see the same samples, so they cannot be compared")
    if len({outcome.truth for outcome in before}) > 1:
        return _inconclusive("two unchanged replays already disagree about it")
    if after.truth and before[0].truth:
        if any(reference.startswith("base.") for reference in prediction.references):
            return Verdict(word=VerdictWord.CONFIRMED, reason=f"{prediction.text} holds: {_values(after)}")
        return _inconclusive("it already holds without the change")
    if not after.truth:
        return Verdict(word=VerdictWord.REFUTED, reason=f"{prediction.text} does not hold: {_values(after)}")
    if not _beyond(before[0], after, spread):
        return _inconclusive(f"the change is within the spread of unchanged replays: {_values(after)}")
    return Verdict(
        word=VerdictWord.CONFIRMED,
        reason=f"{prediction.text} holds with the change ({_values(after)}) and not without ({_values(before[0])})",
    )


def _spread(outcomes: Sequence[Outcome]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in outcomes[0].values:
        series = [outcome.values.get(name, []) for outcome in outcomes]
        gaps = [abs(a - b) for row in zip(*series, strict=False) for a in row for b in row if math.isfinite(a - b)]
        found[name] = max(gaps, default=0.0)
    return found


def _beyond(before: Outcome, after: Outcome, spread: dict[str, float]) -> bool:
    """Whether any value moved by more than two unchanged replays differ."""
    for name, values in after.values.items():
        for old, new in zip(before.values.get(name, []), values, strict=False):
            gap = abs(new - old)
            if not math.isfinite(gap) or gap > spread.get(name, 0.0):
                return True
    return False


def _inconclusive(reason: str) -> Verdict:
    return Verdict(word=VerdictWord.INCONCLUSIVE, reason=reason)


def _ended(result: TrialResult) -> str:
    return f"{result.outcome.value.replace('-', ' ')}: {result.error}"


def _shown(outcome: Outcome) -> dict[str, float]:
    return {name: values[-1] for name, values in outcome.values.items() if values}


def _values(outcome: Outcome) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in _shown(outcome).items()) or "nothing"
