"""How long a person waits for a diagnosis of a small folder, from process start to verdict.

    python benchmarks/startup.py [--runs N] [--path FOLDER]

Prints median and best wall time of ``holter diagnose`` on a folder with a log, a configuration and a script, next to
those of a bare ``python -c pass`` measured in turn, how many checks were imported, and the modules that take longest to
import. Byte code is compiled beforehand, into a folder of its own, as an installer does.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from holter.checks.registry import CHECKS

LOG = "".join(f"{{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 0.0, 'epoch': {n / 100}}}\n" for n in range(1, 101))
CONFIG = "model_name_or_path: google/mt5-small\nfp16: true\nlearning_rate: 5.0e-5\nper_device_train_batch_size: 4\n"
SCRIPT = """from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments
args = Seq2SeqTrainingArguments("out", fp16=True, learning_rate=5e-5, num_train_epochs=1)
trainer = Seq2SeqTrainer(model=model, args=args, train_dataset=data)
trainer.train()
"""
SHOWN = 12
TELL_MODULES = """import atexit, runpy, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
runpy.run_module("holter", run_name="__main__")
"""


def small_folder(folder: Path) -> Path:
    """Write the folder that is timed."""
    for name, text in (("log.txt", LOG), ("config.yaml", CONFIG), ("train.py", SCRIPT)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def seconds(order: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Wall and processor time of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(order, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, env=env)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compiled(scratch: Path) -> dict[str, str]:
    """An environment in which byte code is kept in a folder of its own."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return env | {"PYTHONPYCACHEPREFIX": str(scratch)}


def slowest_imports(order: list[str], env: dict[str, str]) -> list[tuple[int, str]]:
    """Modules with the largest own import time in microseconds."""
    timed = [order[0], "-X", "importtime", *order[1:]]
    done = subprocess.run(timed, capture_output=True, text=True, check=False, env=env)
    found = re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", done.stderr)
    return sorted(((int(own), name) for own, name in found), reverse=True)[:SHOWN]


def imported_checks(order: list[str], env: dict[str, str]) -> str:
    """How many checks a diagnosis imports, of how many, and how many modules in all."""
    told = [order[0], "-c", TELL_MODULES, *order[3:]]
    modules = set(subprocess.run(told, capture_output=True, text=True, check=False, env=env).stderr.split())
    checks = {f"holter.checks.{place.split(':')[0]}" for place in CHECKS.values()}
    return f"{len(checks & modules)} of {len(checks)} checks imported, {len(modules)} modules in all"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--path", type=Path, help="time this folder instead")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch, TemporaryDirectory() as cache:
        folder, env = options.path or small_folder(Path(scratch)), compiled(Path(cache))
        orders = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "holter diagnose, json": [sys.executable, "-m", "holter", "diagnose", str(folder), "--format", "json"],
            "holter diagnose, text": [sys.executable, "-m", "holter", "diagnose", str(folder)],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in orders}
        for order in orders.values():
            seconds(order, env)
        for _ in range(options.runs):
            for name, order in orders.items():
                times[name].append(seconds(order, env))
        for name, found in times.items():
            wall, busy = [pair[0] for pair in found], [pair[1] for pair in found]
            print(f"{name:24} median {statistics.median(wall):.3f} s  best {min(wall):.3f} s  busy {min(busy):.3f} s")
        print(imported_checks(orders["holter diagnose, text"], env))
        print("slowest imports of the text form (own time; those that importlib was asked for by name are not listed):")
        for own, name in slowest_imports(orders["holter diagnose, text"], env):
            print(f"  {own / 1000:7.1f} ms  {name}")


if __name__ == "__main__":
    main()
