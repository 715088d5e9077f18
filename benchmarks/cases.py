"""How often the diagnosis is right on public failures, by the command line alone.

    python benchmarks/cases.py [--cases DIR] [--split dev|held|all] [--settings with|without|both] [--misses]

Each case is a folder with artefacts and a ``case.yaml`` that holds the answer. The artefacts (without ``case.yaml`` and
``log_good.txt``) are copied to a folder with a neutral name, with ``setting.yaml`` made from the case's ``setting`` if
asked for, and ``holter diagnose FOLDER --format json`` is run on it as a process. Only cases of tier ``artefact``
count. The split is fixed by the case's name: a case is held out if the first byte of the SHA-256 of its id is a
multiple of four. Misses are listed for the development split only, so that the held-out quarter stays unseen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "cases"
HIDDEN = ("case.yaml", "log_good.txt")
PROCESSES = 2
PATIENCE_SECONDS = 60
OVERLAPS = (
    {"fp16-overflow", "loss-scale-exhausted"},
    {"low-precision-weights", "optimizer-eps-underflow"},
    {"padding-side", "fully-masked-attention-nan"},
    {"labels-all-masked", "template-mismatch"},
    {"template-mismatch", "tokenizer-fast-slow-mismatch"},
)
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.85, 1.0)


@dataclass(frozen=True)
class Case:
    """One public failure with its answer."""

    name: str
    folder: Path
    cause: str
    expect: str
    setting: dict[str, Any]

    @property
    def held_out(self) -> bool:
        """Whether it belongs to the quarter that is kept aside."""
        return hashlib.sha256(self.name.encode()).digest()[0] % 4 == 0


@dataclass(frozen=True)
class Answer:
    """What the command said of one case."""

    case: Case
    with_setting: bool
    verdict: str
    ranked: tuple[tuple[str, float], ...]
    code: int
    said: str = ""

    @property
    def right(self) -> bool:
        """Right in the sense of what is expected of the case."""
        labels = [label for label, _ in self.ranked]
        if self.case.expect == "silent":
            return self.verdict == "healthy" and self.code == 0
        if self.case.cause == "undetermined":
            return self.verdict == "undetermined"
        if self.case.expect == "narrow":
            return any(same(label, self.case.cause) for label in labels[:3])
        return bool(labels) and same(labels[0], self.case.cause)


def same(left: str, right: str) -> bool:
    """Whether two labels are equal or count as the same cause."""
    return left == right or any({left, right} == pair for pair in OVERLAPS)


def load(folder: Path) -> list[Case]:
    """The scored cases of a folder, in order of name."""
    cases = []
    for path in sorted(folder.glob("*/case.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if data.get("tier", "artefact") == "artefact":
            name = str(data.get("id", path.parent.name))
            cases.append(Case(name, path.parent, data["cause"], data["expect"], data.get("setting") or {}))
    return cases


def ask(case: Case, number: int, with_setting: bool) -> Answer:
    """Run the command on one case under a neutral name."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch, f"case-{number:03d}")
        shutil.copytree(case.folder, folder, ignore=shutil.ignore_patterns(*HIDDEN))
        if with_setting and case.setting:
            (folder / "setting.yaml").write_text(yaml.safe_dump(case.setting, sort_keys=False), encoding="utf-8")
        order = [sys.executable, "-m", "holter", "diagnose", str(folder), "--format", "json"]
        done = subprocess.run(order, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        return Answer(case, with_setting, "no answer", (), done.returncode, done.stderr.strip()[-300:])
    ranked = tuple((cause["cause"], cause["confidence"]) for cause in told["causes"])
    said = "; ".join(f"{f['code']} {f['message']}" for f in told["findings"] if f["severity"] != "note")
    return Answer(case, with_setting, told["verdict"], ranked, done.returncode, said[:300])


def table(answers: Sequence[Answer]) -> Iterable[str]:
    """Lines of the score table: expectation x split x settings."""
    yield f"{'split':8} {'settings':9} {'name-cause':>14} {'narrow':>14} {'silent':>14}"
    for held, split in ((False, "dev"), (True, "held")):
        for with_setting in (True, False):
            chosen = [a for a in answers if a.case.held_out is held and a.with_setting is with_setting]
            if chosen:
                scores = [_score(chosen, expect) for expect in ("name-cause", "narrow", "silent")]
                yield f"{split:8} {'with' if with_setting else 'without':9} " + " ".join(f"{s:>14}" for s in scores)


def _score(answers: Iterable[Answer], expect: str) -> str:
    chosen = [a.right for a in answers if a.case.expect == expect]
    return f"{sum(chosen)}/{len(chosen)} {sum(chosen) / len(chosen):.0%}" if chosen else "-"


def calibration(answers: Iterable[Answer]) -> Iterable[str]:
    """Lines of the table of stated against observed confidence, over all listed causes of faulty cases."""
    stated = [
        (confidence, same(label, a.case.cause))
        for a in answers
        if a.case.cause not in ("healthy", "undetermined")
        for label, confidence in a.ranked
    ]
    yield f"{'confidence':12} {'causes':>7} {'stated':>7} {'right':>7}"
    for low, high in pairwise(BINS):
        inside = [(p, hit) for p, hit in stated if low <= p < high or p == high == BINS[-1]]
        if inside:
            mean = sum(p for p, _ in inside) / len(inside)
            hits = sum(hit for _, hit in inside) / len(inside)
            yield f"{low:.2f}-{high:.2f}    {len(inside):>7} {mean:>7.2f} {hits:>7.2f}"


def misses(answers: Iterable[Answer], held_too: bool) -> Iterable[str]:
    """One paragraph a wrong answer."""
    for a in answers:
        if not a.right and (held_too or not a.case.held_out):
            top = ", ".join(f"{label} {confidence:.2f}" for label, confidence in a.ranked[:4]) or "-"
            setting = "with" if a.with_setting else "without"
            yield f"{a.case.name} ({setting} settings, {a.case.expect}): {a.case.cause}"
            yield f"    {a.verdict}, exit {a.code}: {top}\n    {a.said}"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, default=BESIDE)
    parser.add_argument("--split", choices=("dev", "held", "all"), default="dev")
    parser.add_argument("--settings", choices=("with", "without", "both"), default="both")
    parser.add_argument("--misses", action="store_true", help="list misses of the held-out split too")
    options = parser.parse_args()
    cases = load(options.cases)
    if not cases:
        sys.exit(f"no cases in {options.cases}; give the folder that holds one folder a case with --cases")
    wanted = [c for c in cases if options.split == "all" or c.held_out is (options.split == "held")]
    ways = {"with": (True,), "without": (False,), "both": (True, False)}[options.settings]
    orders = [(case, number, way) for way in ways for number, case in enumerate(wanted)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        answers = list(pool.map(lambda order: ask(*order), orders))
    blocks = (misses(answers, options.misses), table(answers), calibration(answers))
    print("\n\n".join("\n".join(block) for block in blocks))


if __name__ == "__main__":
    main()
