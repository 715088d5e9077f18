"""From findings to an answer: weigh the clues, exclude by stage and contrary evidence, rank, say what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from holter.checks.engine import CheckResults, run_checks
from holter.checks.registry import entries
from holter.diagnosis.causes import CAUSES, same_cause
from holter.diagnosis.confidence import confidences
from holter.diagnosis.consequences import consequences, explained_away
from holter.diagnosis.contrary import by_contrary
from holter.diagnosis.exclude import by_stage, first_symptom
from holter.diagnosis.remedy import remedy
from holter.diagnosis.result import Diagnosis, Excluded, RankedCause, Skipped, Verdict
from holter.diagnosis.suggest import suggest
from holter.diagnosis.suspects import suspects
from holter.diagnosis.weigh import Score, Weighed, weigh
from holter.finding import Basis, Evidence, Finding, Outcome, Severity
from holter.run import Run

STANDS = 0.5
"""Confidence at which a cause is named: more likely than everything else together."""

LISTED = 0.02
"""Confidence below which a cause is not listed: one in fifty."""

MOST_CAUSES = 6
"""Causes listed; the rest share what is left."""

__all__ = ["diagnose", "judge", "scores_and_exclusions"]


def diagnose(run: Run) -> Diagnosis:
    """The answer for one run, from all registered checks."""
    return judge(run, run_checks(run, entries()))


def judge(run: Run, results: CheckResults) -> Diagnosis:
    """The answer for one run, from the outcomes of checks that have been run."""
    findings = results.findings
    healthy = Diagnosis(
        verdict=Verdict.HEALTHY,
        findings=tuple(findings),
        passed=tuple(r.check.code for r in results.of(Outcome.PASSED)),
        skipped=tuple(_skipped(results)),
        gaps=tuple(run.gaps),
        inputs=tuple(run.inputs),
        notes=_remarks(run),
    )
    if all(f.severity < Severity.WARNING for f in findings):
        return healthy
    scores, excluded = scores_and_exclusions(run, findings)
    causes = _ranked(run, scores, excluded)
    named = sum(c.confidence for c in causes if same_cause(c.cause, causes[0].cause)) if causes else 0.0
    verdict = Verdict.FAULT if named >= STANDS else Verdict.UNDETERMINED
    return replace(
        healthy,
        verdict=verdict,
        causes=tuple(causes),
        excluded=tuple(Excluded(cause=label, reason=reason) for label, reason in sorted(excluded.items())),
        next=suggest(causes, findings),
    )


def _remarks(run: Run) -> tuple[str, ...]:
    """What the reader has to know of the input, whatever the verdict: a silent log must not pass for a good one."""
    if any(len(series) for series in run.series.values()) or run.facts or run.variants:
        return ()
    return ("No logged numbers were found, so the training itself could not be judged.",)


def scores_and_exclusions(run: Run, findings: Sequence[Finding]) -> tuple[dict[str, Score], dict[str, str]]:
    """Label -> weight, and label -> reason for those ruled out (and for suspects that nothing speaks for)."""
    scores = weigh(findings)
    symptom = first_symptom(findings)
    wondered = suspects(run, symptom)
    spoken_for = {label for label in scores if scores[label].supporting}
    by_order = by_stage(run, scores, symptom, wondered)
    return scores, by_contrary(run, spoken_for | wondered) | by_order | explained_away(run, scores)


def _ranked(run: Run, scores: Mapping[str, Score], excluded: Mapping[str, str]) -> list[RankedCause]:
    standing = [label for label in scores if label not in excluded]
    sure = confidences(scores, standing)
    order = sorted(sure, key=lambda label: (-sure[label], -scores[label].bits, label))
    return [_cause(run, scores[label], sure[label]) for label in order if sure[label] >= LISTED][:MOST_CAUSES]


def _cause(run: Run, score: Score, confidence: float) -> RankedCause:
    entry = CAUSES[score.cause]
    reasons = _sentences(w.clue.why for w in score.supporting)
    told = " ".join((*reasons[:2], *consequences(score.cause, run), entry.explanation))
    return RankedCause(
        cause=score.cause,
        title=entry.title,
        confidence=confidence,
        basis=max((w.finding.basis for w in score.supporting), default=Basis.INFERRED),
        explanation=told,
        evidence=_evidence(score.supporting),
        against=_evidence(score.opposing),
        codes=tuple(dict.fromkeys(w.finding.code for w in score.supporting)),
        fix=remedy(score, run),
        expect=entry.expect,
    )


def _sentences(reasons: Iterable[str]) -> list[str]:
    told = dict.fromkeys(reason.strip().rstrip(".") for reason in reasons if reason.strip())
    return [f"{reason[0].upper()}{reason[1:]}." for reason in told]


def _evidence(weighed: Sequence[Weighed]) -> tuple[Evidence, ...]:
    found: dict[tuple[str, str], Evidence] = {}
    for item in weighed:
        for evidence in item.finding.evidence:
            found.setdefault((evidence.text, str(evidence.source)), evidence)
    return tuple(found.values())


def _skipped(results: CheckResults) -> Iterable[Skipped]:
    for result in results.results:
        if result.outcome in (Outcome.SKIPPED, Outcome.CRASHED):
            crashed = result.outcome is Outcome.CRASHED
            yield Skipped(code=result.check.code, name=result.check.name, reason=result.reason, crashed=crashed)
