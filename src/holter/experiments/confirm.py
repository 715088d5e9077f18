"""Hands the verdicts of experiments back to the diagnosis: only an experiment confirms a cause, or refutes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from holter.diagnosis.result import Diagnosis, Excluded, RankedCause
from holter.experiments.ledger import FILE, Entry, Verdict, VerdictWord
from holter.finding import Basis, Evidence
from holter.run import Source

CONFIRMED_AT_LEAST = 0.99
"""Confidence of a cause whose removal removed the symptom on the same samples, while two unchanged replays kept it.
What is left is the doubt that the replay is not the run."""


def with_verdicts(diagnosis: Diagnosis, entries: Sequence[Entry]) -> Diagnosis:
    """The diagnosis with causes that an experiment confirmed on top, and those it refuted ruled out.

    Args:
        diagnosis: from artefacts or measurements.
        entries: of the ledger; those without a cause or a verdict say nothing here.
    """
    verdicts = {e.hypothesis.cause: e.verdict for e in entries if e.hypothesis.cause and e.verdict is not None}
    causes, excluded = [], list(diagnosis.excluded)
    for cause in diagnosis.causes:
        verdict = verdicts.get(cause.cause)
        if verdict is not None and verdict.word is VerdictWord.REFUTED:
            excluded.append(Excluded(cause=cause.cause, reason=f"an experiment refuted it: {verdict.reason}"))
        elif verdict is not None and verdict.word is VerdictWord.CONFIRMED:
            causes.append(_confirmed(cause, verdict))
        else:
            causes.append(cause)
    if any(cause.basis is Basis.CONFIRMED for cause in causes):
        causes = _share_the_rest(causes)
    causes.sort(key=lambda cause: (-cause.basis, -cause.confidence))
    return replace(diagnosis, causes=tuple(causes), excluded=tuple(excluded))


def _share_the_rest(causes: Sequence[RankedCause]) -> list[RankedCause]:
    """Causes that no experiment confirmed share what the confirmed ones leave."""
    left = 1 - max(c.confidence for c in causes if c.basis is Basis.CONFIRMED)
    total = sum(c.confidence for c in causes if c.basis is not Basis.CONFIRMED)
    return [
        c if c.basis is Basis.CONFIRMED else replace(c, confidence=c.confidence * left / max(total, left))
        for c in causes
    ]


def _confirmed(cause: RankedCause, verdict: Verdict) -> RankedCause:
    proof = Evidence(text=f"confirmed by an experiment: {verdict.reason}", source=Source(file=FILE))
    return replace(
        cause,
        basis=Basis.CONFIRMED,
        confidence=max(cause.confidence, CONFIRMED_AT_LEAST),
        evidence=(proof, *cause.evidence),
    )
