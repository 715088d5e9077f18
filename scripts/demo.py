"""What `make demo-logs` runs: diagnoses the sample runs in the terminal and leaves the page of one.

Usage: python scripts/demo.py [--output FILE]

Needs the base install only: no torch, no GPU, no network.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import holter
from holter.reports import write

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "samples"
STORY = {
    # sample: what its owner knew
    "healthy": "A run that looks noisy. Is something wrong with it?",
    "fp16-overflow": "Loss 0.0, grad_norm nan, learning rate 0.0: did somebody set the rate to zero?",
    "loss-scale": "280 classes, and the first loss is 48. The head? The warmup? The padding?",
    "labels-masked": "Loss 0.0 from the first step, and no error anywhere.",
    "unsettled": "Only a log is left, and it says nan from the first step on.",
}
SHOWN_AS_PAGE = "loss-scale"


def main() -> int:
    """Diagnose every sample; exit 0 when all were read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "demo-report.html", help="where the page goes")
    output: Path = parser.parse_args().output
    for name, question in STORY.items():
        print(f"\n{'=' * 80}\n{question}\n$ holter diagnose samples/{name}\n")
        started = time.perf_counter()
        run = holter.read([SAMPLES / name])
        diagnosis = holter.diagnose(run)
        write(diagnosis, run, "text", sys.stdout)
        print(f"\n(answered in {time.perf_counter() - started:.2f} s)")
        if name == SHOWN_AS_PAGE:
            output.parent.mkdir(parents=True, exist_ok=True)
            with output.open("w", encoding="utf-8") as stream:
                write(diagnosis, run, "html", stream)
    print(f"\n{'=' * 80}\nThe report of samples/{SHOWN_AS_PAGE} as a page: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
