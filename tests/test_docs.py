"""The documentation says what the code does: made pages are up to date, and what is shown has been run."""

import ast
import importlib
import io
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import file_tree  # noqa: E402
import make_docs  # noqa: E402
import make_samples  # noqa: E402

from holter.checks.registry import CHECKS  # noqa: E402
from holter.cli import COMMANDS  # noqa: E402
from holter.diagnosis.causes import CAUSES  # noqa: E402

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
WRITTEN = make_docs.written_pages()
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def named(path):
    return str(path.relative_to(ROOT))


def fences(path, language):
    return [body for found, body in FENCE.findall(path.read_text(encoding="utf-8")) if found == language]


def has_git():
    try:
        return bool(file_tree.tracked())
    except (OSError, subprocess.CalledProcessError):
        return False


@pytest.fixture
def without_tree(monkeypatch):
    if not has_git():
        monkeypatch.setitem(make_docs.PARTS, "file tree", lambda: pytest.skip("needs the git repository"))


def test_made_pages_are_up_to_date():
    wanted = dict(make_docs.pages())
    old = [named(path) for path, text in wanted.items() if make_docs.read(path) != text]
    assert not old, f"out of date: {old}; run python scripts/make_docs.py"


@pytest.mark.parametrize("path", WRITTEN, ids=named)
def test_what_is_shown_is_what_is_printed(path, without_tree):
    text = path.read_text(encoding="utf-8")
    assert make_docs.refreshed(text) == text, f"{named(path)} is out of date; run python scripts/make_docs.py"


def test_everything_has_its_page():
    assert {p.stem for p in (ROOT / "docs" / "checks").glob("*.md")} == {*CHECKS, "README"}
    assert {p.stem for p in (ROOT / "docs" / "causes").glob("*.md")} == {*CAUSES, "README"}
    commands = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"## holter {name}\n" in commands
        assert f"`holter {name}`" in readme


def test_every_family_of_checks_has_a_title():
    assert {code[:3] for code in CHECKS} <= set(make_docs.CHECK_FAMILIES)


def test_the_file_tree_has_a_note_on_every_line():
    if not has_git():
        pytest.skip("needs the git repository")
    bare = [line for line in file_tree.tree().splitlines() if not line[file_tree.COLUMN :].strip()]
    assert not bare, "give these a docstring, or a note in scripts/file_tree.py"


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_lead_somewhere(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for target in (a or b for a, b in LINK.findall(text)):
        if "://" not in target and not target.startswith("#"):
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve()
            assert there.exists(), f"{named(path)} links to {target}"
            if anchor:
                assert anchor in anchors(there), f"{named(path)} links to {target}"


def anchors(path):
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


NEEDS = re.compile(r"<!-- needs: [^>]+ -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", [p for p in WRITTEN if fences(p, "python")], ids=named)
def test_python_in_the_documentation_runs(path, monkeypatch):
    """A block below a comment such as `<!-- needs: a trainer -->` is only parsed, and its imports of ours resolved."""
    monkeypatch.chdir(ROOT)
    parsed_only = NEEDS.findall(path.read_text(encoding="utf-8"))
    for number, body in enumerate(fences(path, "python"), start=1):
        code = compile(body, f"{named(path)} block {number}", "exec")
        if body in parsed_only:
            resolve_imports(body)
            continue
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(code, {"__name__": "__main__"})
        assert printed.getvalue().strip(), f"{named(path)} block {number} shows nothing"


def resolve_imports(body):
    for node in ast.walk(ast.parse(body)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "holter":
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_make_targets_in_the_documentation_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    used = {word for p in WRITTEN for word in re.findall(r"\bmake ([a-z][a-z-]+)\b`?", "\n".join(fences(p, "console")))}
    used |= {word for p in WRITTEN for word in re.findall(r"`make ([a-z][a-z-]+)`", p.read_text(encoding="utf-8"))}
    assert {"demo", "test"} <= used
    for target in used:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_extras_in_the_readme_exist():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("| extra | for |")[1].split("\n\n")[0]
    extras = {
        word for row in table.splitlines() for word in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert {"train", "tensorboard"} <= extras
    for extra in extras:
        assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE), extra


def test_the_samples_are_what_the_script_makes():
    made = dict(make_samples.sample_files())
    there = {
        str(p.relative_to(make_samples.FOLDER)): p.read_text(encoding="utf-8")
        for p in make_samples.FOLDER.rglob("*")
        if p.is_file()
    }
    assert there == made


def test_the_picture_is_small_enough():
    picture = ROOT / "docs" / "images" / "report.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 300_000


def test_no_page_names_a_place_on_this_machine():
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", text), named(path)


def test_the_demonstration_tells_every_sample(tmp_path, capsys, monkeypatch):
    import demo

    page = tmp_path / "deep" / "report.html"
    monkeypatch.setattr("sys.argv", ["demo.py", "--output", str(page)])
    assert demo.main() == 0
    told = capsys.readouterr().out
    assert set(demo.STORY) == set(make_samples.SAMPLES)
    assert all(f"samples/{name}" in told for name in demo.STORY)
    assert " HEALTHY " in told and " FAULT " in told
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
