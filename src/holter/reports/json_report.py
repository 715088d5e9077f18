"""The diagnosis as JSON, schema ``holter.diagnosis/1``; ``diagnosis.schema.json`` beside this file describes it.

Every key is always present. JSON has no NaN and no infinities: they are the texts ``"NaN"``, ``"Infinity"`` and
``"-Infinity"``, since null would not say which it was.
"""

from __future__ import annotations

import enum
import json
import math
from array import array
from collections.abc import Mapping
from typing import Any, TextIO

import orjson

from holter.diagnosis.result import SCHEMA, Diagnosis, RankedCause
from holter.finding import Clue, Evidence, Finding, Fix
from holter.reports.clean import clean
from holter.run import Expression, Gap, Source

LARGEST_INTEGER = 2**53
"""Readers that hold numbers as doubles lose digits beyond it, so larger integers are texts."""


def write(diagnosis: Diagnosis, stream: TextIO) -> None:
    """Write one JSON object, indented by two, with a line end."""
    stream.write(dumps(payload(diagnosis)))


def dumps(data: Any) -> str:
    """Valid JSON of plain data, the same bytes for the same data."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    try:
        return orjson.dumps(plain(data), option=options).decode()
    except TypeError:  # deeper than orjson's limit of nested containers
        return json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def payload(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as plain data, secrets masked, keys as in the schema."""
    found = clean(diagnosis)
    return {
        "schema": SCHEMA,
        "verdict": found.verdict.value,
        "causes": [_cause(c) for c in found.causes],
        "excluded": [{"cause": e.cause, "reason": e.reason} for e in found.excluded],
        "next": [{"measure": n.measure, "command": n.command, "separates": list(n.separates)} for n in found.next],
        "findings": [_finding(f) for f in found.findings],
        "passed": sorted(found.passed),
        "skipped": [
            {"code": s.code, "name": s.name, "reason": s.reason, "crashed": s.crashed}
            for s in sorted(found.skipped, key=lambda s: s.code)
        ],
        "gaps": [_gap(g) for g in found.gaps],
        "inputs": [{"file": i.file, "reader": i.reader, "why": i.why, "sha256": i.sha256} for i in found.inputs],
        "notes": list(found.notes),
    }


def plain(value: Any) -> Any:
    """Data that JSON can hold: mappings with text keys, lists, texts, finite numbers, booleans, null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, enum.Enum):
        return getattr(value, "word", value.value)
    if isinstance(value, int):
        return value if abs(value) <= LARGEST_INTEGER else str(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, array, range)):
        return [plain(v) for v in value]
    return value.text if isinstance(value, Expression) else str(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _cause(found: RankedCause) -> dict[str, Any]:
    return {
        "cause": found.cause,
        "confidence": round(found.confidence, 4),
        "basis": found.basis.word,
        "title": found.title,
        "explanation": found.explanation,
        "evidence": [_evidence(e) for e in found.evidence],
        "against": [_evidence(e) for e in found.against],
        "codes": list(found.codes),
        "fix": _fix(found.fix),
        "expect": found.expect,
    }


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "code": found.code,
        "name": found.name,
        "severity": found.severity.word,
        "message": found.message,
        "stage": found.stage.word,
        "step": found.step,
        "basis": found.basis.word,
        "evidence": [_evidence(e) for e in found.evidence],
        "clues": [_clue(c) for c in found.clues],
        "fix": _fix(found.fix),
    }


def _evidence(found: Evidence) -> dict[str, Any]:
    return {"text": found.text, "source": _source(found.source), "step": found.step, "value": plain(found.value)}


def _source(source: Source | None) -> dict[str, Any] | None:
    if source is None:
        return None
    return {"file": source.file, "line": source.line, "key": source.key, "cell": source.cell}


def _clue(clue: Clue) -> dict[str, Any]:
    return {"cause": clue.cause, "bits": plain(clue.bits), "why": clue.why}


def _fix(fix: Fix | None) -> dict[str, Any] | None:
    if fix is None:
        return None
    changes = [{"file": c.file, "key": c.key, "from": plain(c.old), "to": plain(c.new)} for c in fix.changes]
    return {"summary": fix.summary, "changes": changes}


def _gap(gap: Gap) -> dict[str, Any]:
    return {"source": _source(gap.source), "what": gap.what, "why": gap.why, "do": gap.do}
