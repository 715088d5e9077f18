"""Fits the two constants of ``holter.diagnosis.confidence`` on the development cases.

    python benchmarks/calibrate.py [--cases DIR]

For each case, with and without its settings, the weights of all causes that stand are computed once; then temperature
and the bits of "none of these" are chosen on a grid by the smallest mean log loss of the statement "this is the cause",
over all causes that would be listed. The held-out quarter is never touched.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from cases import BESIDE, HIDDEN, Case, load, same

from holter.checks.engine import run_checks
from holter.checks.registry import all_checks
from holter.diagnosis import LISTED, scores_and_exclusions
from holter.diagnosis.confidence import MOST, NONE_OF_THESE, TEMPERATURE, confidences
from holter.diagnosis.weigh import Score
from holter.finding import Severity
from holter.readers import read

TEMPERATURES = [0.25 * n for n in range(2, 21)]
NOTHINGS = [0.5 * n for n in range(-4, 13)]

Weighed = tuple[Case, dict[str, Score], list[str]]


def weighed(case: Case, with_setting: bool) -> Weighed | None:
    """The case with its weights and the causes that stand; None where nothing was found."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch, "case")
        shutil.copytree(case.folder, folder, ignore=shutil.ignore_patterns(*HIDDEN))
        if with_setting and case.setting:
            (folder / "setting.yaml").write_text(yaml.safe_dump(case.setting, sort_keys=False), encoding="utf-8")
        run = read([folder])
    findings = run_checks(run, all_checks()).findings
    if all(f.severity < Severity.WARNING for f in findings):
        return None
    scores, excluded = scores_and_exclusions(run, findings)
    return case, scores, [label for label in scores if label not in excluded]


def statements(items: Iterable[Weighed], temperature: float, none_of_these: float) -> list[tuple[float, bool]]:
    """Stated probability and truth of each listed cause."""
    found = []
    for case, scores, standing in items:
        stated = confidences(scores, standing, temperature=temperature, none_of_these=none_of_these)
        found += [(p, same(label, case.cause)) for label, p in stated.items() if p >= LISTED]
    return found


def log_loss(pairs: Sequence[tuple[float, bool]]) -> float:
    """Mean negative log likelihood in nats."""
    floor = 1.0 - MOST
    return -sum(math.log(max(floor, p if hit else 1.0 - p)) for p, hit in pairs) / max(1, len(pairs))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, default=BESIDE)
    cases = [
        c for c in load(parser.parse_args().cases) if not c.held_out and c.cause not in ("healthy", "undetermined")
    ]
    if not cases:
        sys.exit("no cases; give the folder that holds one folder a case with --cases")
    items = [found for case in cases for way in (True, False) if (found := weighed(case, way)) is not None]
    grid = [(log_loss(statements(items, t, n)), t, n) for t in TEMPERATURES for n in NOTHINGS]
    best = min(grid)
    print(f"{len(items)} cases with findings, with and without settings")
    print(f"now:  TEMPERATURE {TEMPERATURE} NONE_OF_THESE {NONE_OF_THESE} ", end="")
    print(f"log loss {log_loss(statements(items, TEMPERATURE, NONE_OF_THESE)):.4f}")
    print(f"best: TEMPERATURE {best[1]} NONE_OF_THESE {best[2]} log loss {best[0]:.4f}")


if __name__ == "__main__":
    main()
