"""Speed and memory of the readers on a million rows, as ratios to a bare loop in the same run.

    python benchmarks/readers.py [--rows 1000000]

JSONL and trainer_state.json are compared with a bare orjson loop over the same bytes, a console log with swapping the
quotes of each line and parsing it. Memory is the peak of a fresh process that only reads, less the same process before
reading. The last lines time a small folder from the start of the process.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

JSON_LIMIT, CONSOLE_LIMIT = 4.0, 5.0  # times the bare loop
MEMORY_LIMIT = 300  # MB beyond the process before reading
REPEATS = 3


def rows(count: int) -> Iterator[dict[str, float]]:
    """Rows as the Trainer logs them."""
    random.seed(0)
    for step in range(1, count + 1):
        yield {
            "epoch": round(step / 1000, 4),
            "grad_norm": round(random.uniform(0.5, 3), 4),
            "learning_rate": 1e-5 * (1 - step / count),
            "loss": round(random.uniform(1, 3), 4),
            "step": step,
        }


def write_samples(folder: Path, count: int) -> dict[str, Path]:
    """The three files, by kind."""
    paths = {
        kind: folder / kind / name for kind, name in (("jsonl", "log.jsonl"), ("trainer_state", "trainer_state.json"))
    }
    paths |= {kind: folder / kind / "train.log" for kind in ("console", "console with bars")}
    for path in paths.values():
        path.parent.mkdir()
    with paths["jsonl"].open("w") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows(count))
    state = {"global_step": count, "log_history": list(rows(count)), "max_steps": count}
    paths["trainer_state"].write_text(json.dumps(state, indent=2))
    del state
    with paths["console"].open("w") as stream:
        stream.writelines(f"{ {key: row[key] for key in row if key != 'step'} }\n" for row in rows(count))
    with paths["console with bars"].open("w") as stream:
        for row in rows(count // 2):
            step = int(row.pop("step"))
            stream.write(f"{row}\n 10%|#         | {step}/{count} [00:10<01:30,  9.9it/s]\n")
    return paths


def bare_lines(path: Path) -> None:
    """One orjson call a line."""
    with path.open("rb") as stream:
        for line in stream:
            orjson.loads(line)


def bare_whole(path: Path) -> None:
    """One orjson call for the file, then a loop over its entries."""
    for entry in orjson.loads(path.read_bytes())["log_history"]:
        entry.get("loss")


def bare_swap(path: Path) -> None:
    """Quotes swapped and one orjson call for each line that is a dict."""
    with path.open("rb") as stream:
        for line in stream:
            swapped = line.replace(b"'", b'"')
            if swapped.startswith(b"{"):
                orjson.loads(swapped)


BARE: dict[str, Callable[[Path], None]] = {
    "jsonl": bare_lines,
    "trainer_state": bare_whole,
    "console": bare_swap,
    "console with bars": bare_swap,
}


def ours(path: Path) -> None:
    """Holter's reader."""
    from holter.readers import read

    run = read([path])
    assert len(run.series["loss"]) >= 1


def seconds(work: Callable[[Path], None], path: Path) -> float:
    """The best of a few times."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        work(path)
        best = min(best, time.perf_counter() - start)
    return best


def peak_mb(path: Path) -> float:
    """MB that reading adds to the peak of a fresh process (Linux); a mapped file counts as far as it is resident."""
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from holter.readers import read\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024\n"
        "before = peak()\n"
        "read([Path(sys.argv[1])])\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def small_folder(folder: Path) -> float:
    """Seconds from the start of a process to a small folder read, less that of an empty process."""
    small = folder / "small"
    small.mkdir()
    (small / "train.log").write_text("".join(f"{row}\n" for row in rows(200)))
    (small / "config.yaml").write_text("learning_rate: 1.0e-5\nfp16: true\n")
    code = "import sys; from pathlib import Path; from holter.readers import read; read([Path(sys.argv[1])])"
    return _process(code, small) - _process("pass", small)


def _process(code: str, path: Path) -> float:
    def start(path: Path) -> None:
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)

    return seconds(start, path)


def main() -> int:
    """Print a table; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    count = parser.parse_args().rows
    missed = 0
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, {count:,} rows")
    print(f"{'file':<18} {'MB':>6} {'bare s':>8} {'ours s':>8} {'ratio':>6} {'limit':>6} {'extra MB':>9}")
    with TemporaryDirectory() as name:
        for kind, path in write_samples(Path(name), count).items():
            bare, own, extra = seconds(BARE[kind], path), seconds(ours, path), peak_mb(path)
            limit = CONSOLE_LIMIT if kind.startswith("console") else JSON_LIMIT
            missed += (kind != "console with bars" and own / bare > limit) or extra > MEMORY_LIMIT
            size = path.stat().st_size / 1e6
            print(f"{kind:<18} {size:>6.0f} {bare:>8.2f} {own:>8.2f} {own / bare:>6.2f} {limit:>6.1f} {extra:>9.0f}")
        print(f"small folder: {small_folder(Path(name)):.3f} s from process start to Run, beyond an empty process")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
