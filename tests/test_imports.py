"""Imports go one way, and a diagnosis loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import holter

ROOT = Path(holter.__file__).parent
HEAVY = ("torch", "transformers", "pandas", "numpy", "datasets", "peft", "accelerate", "mlflow", "tensorboard")

ALLOWED: dict[str, set[str]] = {
    # part of the package -> parts it may import when it is loaded, besides itself
    "stages": set(),
    "run": {"names"},
    "errors": set(),
    "finding": {"run", "stages"},
    "names": {"names_config", "names_series", "names_setup", "quantity", "patterns"},
    "quantity": {"patterns"},
    "comparison": set(),
    "secrets": set(),
    "patterns": set(),
    "checks": {"run", "finding", "stages", "names", "knowledge", "quantity", "comparison", "values", "patterns"},
    "readers": {
        "run",
        "errors",
        "names",
        "names_config",
        "names_series",
        "names_setup",
        "quantity",
        "comparison",
        "values",
        "secrets",
        "patterns",
    },
    "diagnosis": {"run", "finding", "stages", "checks", "knowledge", "names", "values", "errors"},
}
"""The floors of the house; what is not listed stands above them and may import all."""


def part(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports at module level, as the parts they belong to."""
    found: set[str] = set()
    for node in _loaded(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module] if node.module != "holter" else [f"holter.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        else:
            continue
        found |= {part(name) for name in names if name.startswith("holter.")}
    return found


def _loaded(tree: ast.AST) -> list[ast.AST]:
    """Nodes that run on import: not inside functions, not under ``if TYPE_CHECKING``."""
    nodes: list[ast.AST] = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        nodes += [child, *_loaded(child)]
    return nodes


def files() -> list[Path]:
    return [p for p in sorted(ROOT.rglob("*.py")) if _part_of(p) in ALLOWED]


def _part_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


@pytest.mark.parametrize("path", files(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    own = _part_of(path)
    assert imported(path) - {own} <= ALLOWED[own]


def test_a_step_back_is_noticed(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from holter.reports import write\ndef late():\n    from holter.cli import main\n")
    assert imported(wrong) == {"reports"}


def loaded_by(script: str, *arguments: str) -> tuple[int, set[str]]:
    """Exit code of a script in a process of its own, and the heavy modules that were loaded at its end."""
    show = f"import sys; print('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    code = (
        f"import sys\nleft = 0\ntry:\n    {script}\nexcept SystemExit as e:\n    left = e.code\n{show}\nsys.exit(left)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, set(done.stdout.rsplit("LOADED", 1)[1].split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "log.txt").write_text("{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 0.0, 'epoch': 0.0}\n")
    (tmp_path / "config.yaml").write_text("fp16: true\nmodel_name_or_path: google/mt5-small\n")
    (tmp_path / "train.py").write_text("args = TrainingArguments(learning_rate=1e-4)\n")
    return tmp_path


@pytest.mark.parametrize("form", ["text", "json", "markdown", "html", "sarif"])
def test_diagnose_loads_nothing_heavy(folder: Path, form: str) -> None:
    arguments = ["diagnose", str(folder), "--format", form]
    assert loaded_by("from holter.cli import main; main()", *arguments) == (1, set())


def test_import_loads_nothing_heavy() -> None:
    assert loaded_by("import holter; holter.Run; holter.read; holter.diagnose") == (0, set())


@pytest.mark.parametrize("module", ["torch", "numpy"])
def test_the_test_notices_a_heavy_import(folder: Path, module: str) -> None:
    pytest.importorskip(module)
    script = f"import {module}; from holter.cli import main; main()"
    assert module in loaded_by(script, "diagnose", str(folder))[1]
