"""False alarms on real healthy logs, and silence on real broken ones.

    python benchmarks/runs.py [--runs DIR] [--show]

``DIR`` holds log files and ``index.tsv`` with the columns ``file``, ``looks`` (healthy, suspect or broken) and ``why``,
as judged by eye. Each log alone is given to ``holter diagnose FILE --format json`` as a process. Healthy must give the
verdict healthy, broken must not; suspect logs are counted but neither answer is wrong.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "runs"
PROCESSES = 2
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What the command said of one log."""

    file: str
    looks: str
    why: str
    verdict: str
    said: str


def ask(folder: Path, row: dict[str, str]) -> Answer:
    """Run the command on one log."""
    order = [sys.executable, "-m", "holter", "diagnose", str(folder / row["file"]), "--format", "json"]
    done = subprocess.run(order, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        return Answer(row["file"], row["looks"], row["why"], "no answer", done.stderr.strip()[-300:])
    causes = ", ".join(f"{c['cause']} {c['confidence']:.2f}" for c in told["causes"][:3])
    said = "; ".join(f"{f['code']} {f['message']}" for f in told["findings"] if f["severity"] != "note")
    return Answer(row["file"], row["looks"], row["why"], told["verdict"], f"{causes}\n    {said[:400]}")


def wrong(answer: Answer) -> bool:
    """Whether a healthy log was not called healthy, or a broken one was, or there was no answer."""
    if answer.verdict == "no answer":
        return True
    return (answer.looks, answer.verdict == "healthy") in (("healthy", False), ("broken", True))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=BESIDE)
    parser.add_argument("--show", action="store_true", help="print every answer that is not healthy")
    options = parser.parse_args()
    index = options.runs / "index.tsv"
    if not index.is_file():
        sys.exit(f"no index.tsv in {options.runs}; give the folder of logs with --runs")
    with index.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    with ThreadPoolExecutor(PROCESSES) as pool:
        answers = list(pool.map(lambda row: ask(options.runs, row), rows))
    for answer in answers:
        if wrong(answer) or (options.show and answer.verdict != "healthy"):
            print(f"{answer.file}: looks {answer.looks} ({answer.why})\n    {answer.verdict}: {answer.said}")
    for looks in ("healthy", "suspect", "broken"):
        chosen = [a for a in answers if a.looks == looks]
        flagged = sum(a.verdict not in ("healthy", "no answer") for a in chosen)
        print(f"{looks:8} {len(chosen):3} logs, {flagged:3} flagged")


if __name__ == "__main__":
    main()
