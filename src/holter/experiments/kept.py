"""The last search over a run, kept beside its trials so that ``holter report`` can show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from holter.experiments.bisect import Bisection, Tried
from holter.experiments.trial import TRIALS, TrialResult

FILE = "bisection.json"


def keep(found: Bisection, folder: Path) -> None:
    """Write a search below a folder of ours; an earlier one is replaced."""
    path = folder / TRIALS / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    content = asdict(replace(found, trials=(), inferred=None))
    trials = [{**vars(tried), "result": tried.result.to_json()} for tried in found.trials]
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps({**content, "trials": trials}, default=str), encoding="utf-8")
    temporary.replace(path)


def kept(folder: Path) -> Bisection | None:
    """The search that was kept below a folder of ours, None when there is none that can be read."""
    try:
        content = json.loads((folder / TRIALS / FILE).read_text(encoding="utf-8"))
        return _bisection(content)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _bisection(content: Mapping[str, Any]) -> Bisection:
    trials = tuple(Tried(**{**row, "result": TrialResult.from_json(row["result"])}) for row in content["trials"])
    culprits = {name: (good, bad) for name, (good, bad) in content["culprits"].items()}
    return Bisection(**{**content, "culprits": culprits, "trials": trials})
