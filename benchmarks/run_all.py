"""Run the benchmarks in turn: those that need nothing else, then those on public cases and logs where they are found.

python benchmarks/run_all.py
"""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

from cases import BESIDE as CASES
from runs import BESIDE as LOGS

HERE = Path(__file__).resolve().parent
ALWAYS = (
    ("startup.py",),
    ("readers.py",),
    ("bisect_trials.py",),
    ("guard_overhead.py",),
    ("guard_undo.py",),
    ("guard_alarms.py",),
    ("training_speed.py", "--rows", "200000"),
)
WITH_DATA = ((CASES, ("cases.py", "--split", "all")), (CASES, ("forms.py",)), (LOGS, ("runs.py",)))


def main() -> int:
    """Entry point; exit 1 when one of them fails."""
    print(f"Python {platform.python_version()}, {platform.machine()}, {platform.system()}", flush=True)
    failed = 0
    present = [(folder.is_dir(), order) for folder, order in WITH_DATA]
    for there, order in [*((True, order) for order in ALWAYS), *present]:
        print(f"\n== {' '.join(order)}", flush=True)
        if there:
            failed += subprocess.run([sys.executable, str(HERE / order[0]), *order[1:]], check=False).returncode != 0
        else:
            print("skipped: the public cases and logs are not beside the repository")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
