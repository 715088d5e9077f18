"""How Holter judges real public logs: are the healthy ones silent, are the broken ones flagged?

    python benchmarks/runs_public.py [FOLDER] [--codes NUM,OPT,LOS] [--all]

FOLDER holds the logs and an ``index.tsv`` with the columns ``file``, ``looks`` (healthy, suspect, broken) and ``why``;
it defaults to the folder of public runs beside the repository. A log counts as flagged when a finding has level warning
or error. Suspect logs may be either; they are listed. Exit 1 when a healthy log is flagged or a broken one is not.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter
from pathlib import Path

from holter.checks.engine import run_checks
from holter.checks.registry import all_checks
from holter.finding import Finding, Outcome, Severity
from holter.readers import read

BESIDE = Path(__file__).parents[2] / "shared" / "runs"


def judge(path: Path, families: tuple[str, ...]) -> tuple[list[Finding], list[str], float]:
    """Findings of one log, crashed checks, and seconds from reading to the last finding."""
    begin = time.perf_counter()
    results = run_checks(read([path]), [c for c in all_checks() if c.code.startswith(families)])
    crashed = [f"{r.check.code}: {r.reason}" for r in results.of(Outcome.CRASHED)]
    return results.findings, crashed, time.perf_counter() - begin


def is_wrong(looks: str, flagged: bool) -> bool:
    """Whether the verdict contradicts the index."""
    return (looks == "healthy" and flagged) or (looks == "broken" and not flagged)


def main() -> int:
    """Print a table, a line a log, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=BESIDE)
    parser.add_argument("--codes", default="", help="families to run, such as NUM,OPT,LOS; all by default")
    parser.add_argument("--all", action="store_true", help="print every log, not only the flagged and the wrong ones")
    options = parser.parse_args()
    index = options.folder / "index.tsv"
    if not index.is_file():
        print(f"no index.tsv in {options.folder}; give the folder of public logs", file=sys.stderr)
        return 2
    families = tuple(options.codes.split(",")) if options.codes else ("",)
    with index.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    counts: Counter[tuple[str, str]] = Counter()
    wrong = 0
    for row in rows:
        findings, crashed, seconds = judge(options.folder / row["file"], families)
        alarms = [f for f in findings if f.severity >= Severity.WARNING]
        flagged = bool(alarms)
        counts[row["looks"], "flagged" if flagged else "silent"] += 1
        bad = is_wrong(row["looks"], flagged)
        wrong += bad
        if options.all or bad or flagged or row["looks"] == "suspect" or crashed:
            print(f"{'WRONG' if bad else 'ok':5} {row['looks']:8} {row['file']} ({seconds:.2f} s): {row['why']}")
            for line in crashed:
                print(f"        crashed {line}")
            for finding in findings:
                print(f"        {finding.code} {finding.severity.word}: {finding.message}")
    for (looks, verdict), number in sorted(counts.items()):
        print(f"{looks:8} {verdict:8} {number}")
    print(f"wrong    {wrong} of {len(rows)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
