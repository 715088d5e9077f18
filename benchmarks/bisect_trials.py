"""How many trials `holter bisect` needs, against 2 log2(n) + 4, and how long a real search and the demo take.

Usage: python benchmarks/bisect_trials.py [--real] [-o FILE]

Scripted targets answer at once, so every culprit among up to 64 differences, and pairs that act only together, can be
tried. ``--real`` also searches with real trials of a small BERT classifier and runs the demo.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from holter.experiments.bisect import Bisection, bisect
from holter.experiments.pool import LocalPool
from holter.experiments.targets import Target
from holter.experiments.trial import Trial, TrialOutcome, TrialResult

ROOT = Path(__file__).parents[1]
SIZES = (2, 4, 8, 16, 32, 64)
PAIRS = 60  # of each size, drawn with a seed
REAL_DIFFERENCES = {"weight_decay": 0.1, "adam_beta2": 0.9, "adam_epsilon": 1e-6, "torch_empty_cache_steps": 5}
REAL_DIFFERENCES |= {"warmup_steps": 3, "max_grad_norm": 0.5, "lr_scheduler_type": "cosine"}

Carries = Callable[[Mapping[str, Any]], bool]


class Scripted:
    """Trials that take no time: the loss follows from the settings."""

    def __init__(self, carries: Carries) -> None:
        self.carries, self.count = carries, 0

    def run(self, trials: Sequence[Trial]) -> Iterator[tuple[int, TrialResult]]:
        """Yield (index, result)."""
        for index, trial in enumerate(trials):
            self.count += 1
            loss = 40.0 if self.carries(trial.overrides) else 5.0
            series = {"loss": [(1, loss)], "grad_norm": [(1, loss)]}
            yield index, TrialResult(outcome=TrialOutcome.FINISHED, series=series, fingerprints=("a",))


def search(names: Sequence[str], culprits: Sequence[str]) -> tuple[int, bool]:
    """Trials of a search for culprits that act only together, and whether it named exactly them."""
    engine = Scripted(lambda settings: all(settings[name] == 1 for name in culprits))
    good, bad = (Target(name="m:f", settings=dict.fromkeys(names, value)) for value in (0, 1))
    found = bisect(good, bad, engine=engine, symptom="loss@1 > 20")
    return engine.count, set(found.culprits) == set(culprits)


def rows() -> Iterator[tuple[str, ...]]:
    """One row a number of differences."""
    draw = random.Random(0)
    for size in SIZES:
        names = [f"setting_{i:02}" for i in range(size)]
        singles = [search(names, [name]) for name in names]
        every = list(itertools.combinations(names, 2))
        pairs = [search(names, pair) for pair in draw.sample(every, min(PAIRS, len(every)))]
        bound = 2 * math.log2(size) + 4
        yield (
            str(size),
            f"{max(count for count, _ in singles)}",
            f"{bound:g}",
            f"{sum(right for _, right in singles)} of {len(singles)}",
            f"{max(count for count, _ in pairs)}",
            f"{sum(right for _, right in pairs)} of {len(pairs)}",
        )


def real() -> tuple[Bisection, float]:
    """A search with real trials: accumulation among other differences, on a user's function."""
    sys.path.insert(0, str(ROOT / "tests" / "experiments"))
    os.chdir(ROOT / "tests" / "experiments")
    left = {"gradient_accumulation_steps": 1, "per_device_train_batch_size": 8}
    right = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4, **REAL_DIFFERENCES}
    good, bad = (Target(name="small_target:build", settings=settings) for settings in (left, right))
    started = time.perf_counter()
    found = bisect(good, bad, engine=LocalPool(), steps=2)
    return found, time.perf_counter() - started


def demo() -> float:
    """Seconds that the demo takes."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "holter", "demo"], cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - started


def page(with_real: bool) -> str:
    """What was measured, as Markdown."""
    head = "| differences | most trials, one culprit | 2 log2(n) + 4 | right | most trials, a pair | right |"
    lines = ["# Trials that a search takes", "", head, "|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows()]
    lines += ["", "Every culprit of each size was tried, and pairs that act only together. The three replays that"]
    lines += ["establish the symptom (BAD twice, GOOD once) are counted."]
    if with_real:
        found, seconds = real()
        lines += ["", f"With real trials of a small BERT classifier on {os.cpu_count()} cores ({platform.machine()}):"]
        lines += [f"{', '.join(found.culprits)} found among {len(REAL_DIFFERENCES) + 2} differences"]
        lines += [f"in {len(found.trials)} trials and {seconds:.0f} seconds; {len(found.set_aside)} were set aside."]
        lines += ["", f"`holter demo` took {demo():.0f} seconds on the same machine."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true", help="also with real trials, and the demo")
    parser.add_argument("-o", "--output", type=Path, help="write there instead of to stdout")
    given = parser.parse_args()
    output = given.output.resolve() if given.output else None
    text = page(given.real)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
