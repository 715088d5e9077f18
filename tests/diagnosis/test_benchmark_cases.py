"""The script that scores the diagnosis scores what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "cases.py"


def case(folder: Path, name: str, cause: str, expect: str, log: str, **more: object) -> None:
    """Write one case; its answer and a good log must never reach the command."""
    home = folder / name
    home.mkdir()
    (home / "log.txt").write_text(log)
    (home / "log_good.txt").write_text("ValueError: Attempting to unscale FP16 gradients.\n")
    answer = {"id": name, "cause": cause, "expect": expect, "tier": "artefact", "artefacts": ["log.txt"], **more}
    (home / "case.yaml").write_text(yaml.safe_dump(answer))


def scored(*arguments: str) -> str:
    order = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(order, capture_output=True, text=True, check=False, cwd=SCRIPT.parents[1])
    assert done.returncode == 0, done.stderr
    return done.stdout


PAD = "ValueError: Cannot handle batch sizes > 1 if no padding token is defined.\n"
FALLING = "".join(f"{{'loss': {2 - n / 10}, 'grad_norm': 1.0, 'epoch': {n / 10}}}\n" for n in range(10))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # The split is by the name's hash: "d" and "j" are held out, "a", "b" and "c" are not.
    case(tmp_path, "a", "pad-token-missing", "name-cause", PAD)
    case(tmp_path, "b", "healthy", "silent", FALLING)
    case(tmp_path, "c", "eval-leak", "narrow", PAD)
    case(tmp_path, "d", "pad-token-missing", "name-cause", PAD)
    case(tmp_path, "j", "pad-token-missing", "name-cause", PAD, tier="facts")
    return tmp_path


def row(page: str, split: str, settings: str) -> list[str]:
    lines = [line.split() for line in page.splitlines()]
    return next(line for line in lines if line[:2] == [split, settings])


def test_scores_and_misses_of_the_development_split(folder: Path) -> None:
    page = scored("--cases", str(folder), "--settings", "without")
    assert row(page, "dev", "without")[2:] == ["1/1", "100%", "0/1", "0%", "1/1", "100%"]
    assert "c (without settings, narrow): eval-leak" in page
    assert "held" not in page


def test_held_out_cases_are_counted_but_not_shown(folder: Path) -> None:
    (folder / "d" / "case.yaml").write_text(
        (folder / "d" / "case.yaml").read_text().replace("pad-token-missing", "eval-leak")
    )
    page = scored("--cases", str(folder), "--split", "held", "--settings", "with")
    assert row(page, "held", "with")[2:4] == ["0/1", "0%"]
    assert "eval-leak" not in page
    assert "eval-leak" in scored("--cases", str(folder), "--split", "held", "--settings", "with", "--misses")


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    order = [sys.executable, str(SCRIPT), "--cases", str(tmp_path / "absent")]
    done = subprocess.run(order, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "no cases in" in done.stderr
