"""`holter explain` prints the manual; `holter list` prints what there is."""

import json

import pytest
from click.testing import CliRunner

from holter.checks.registry import CHECKS, load
from holter.cli import COMMANDS, group
from holter.diagnosis.causes import CAUSES
from holter.errors import ConfigError
from holter.reports.manual import HEADINGS, case_text, docstring_parts, needs_text, page


def holter(*words):
    return CliRunner().invoke(group, words)


@pytest.mark.parametrize("code", sorted(CHECKS))
def test_every_check_has_a_whole_page(code):
    parts = docstring_parts(load(code))
    assert list(parts) == list(HEADINGS)
    assert all(len(text) > 3 for text in parts.values())
    view = page(code)
    titles = [section.title for section in view.sections]
    assert titles[:2] == ["What it looks for", "Why it hurts"]
    assert {"Runs it reports", "Runs it leaves alone", "Runs it cannot judge"} <= set(titles)


@pytest.mark.parametrize("label", sorted(CAUSES))
def test_every_cause_has_a_whole_page(label):
    view = page(label)
    titles = {section.title for section in view.sections}
    assert {"How it works", "What to change", "What settles it", "When it is ruled out"} <= titles
    assert view.summary[0].rstrip(".") == CAUSES[label].definition.rstrip(".")


def test_explain_prints_the_docstring():
    code = sorted(CHECKS)[0]
    result = holter("explain", code.lower())
    assert result.exit_code == 0
    assert result.output.startswith(f"{code} {load(code).name}")
    first_words = " ".join(docstring_parts(load(code))["Why it hurts"].split()[:4]).replace("`", "")
    assert first_words in " ".join(result.output.replace("`", "").split())


def test_pages_name_the_clues_of_the_examples():
    from holter.reports.clues import spoken

    code = next(code for code in sorted(CHECKS) if any(bits > 0 for bits in spoken(load(code)).values()))
    cause = next(cause for cause, bits in spoken(load(code)).items() if bits > 0)
    assert f"{cause}: for it, by up to" in holter("explain", code).output
    assert f"{code} {load(code).name}: for it, by up to" in " ".join(holter("explain", cause).output.split())


def test_explain_takes_the_name_of_a_check_and_a_cause_with_underscores():
    code = sorted(CHECKS)[-1]
    assert holter("explain", load(code).name).output == holter("explain", code).output
    assert holter("explain", "fp16_overflow").output == holter("explain", "fp16-overflow").output


def test_explain_as_markdown():
    result = holter("explain", "lr-zero", "--format", "markdown")
    assert result.exit_code == 0
    assert result.output.startswith("# lr-zero\n")
    assert "## What settles it" in result.output


def test_unknown_name_gives_the_nearest_ones():
    result = holter("explain", "fp16-overflw")
    assert isinstance(result.exception, ConfigError)
    message = str(result.exception)
    assert "'fp16-overflw'" in message and "did you mean fp16-overflow" in message and "holter list" in message


def test_unknown_name_exits_with_2(capsys, monkeypatch):
    from holter.cli import main

    monkeypatch.setattr("sys.argv", ["holter", "explain", "no-such-thing-at-all"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_list_as_data_holds_everything():
    data = json.loads(holter("list", "--format", "json").output)
    assert [row["code"] for row in data["checks"]] == sorted(CHECKS)
    assert {row["cause"] for row in data["causes"]} == set(CAUSES)
    assert all(row["definition"] and row["stage"] for row in data["causes"])


@pytest.mark.parametrize(
    ("flag", "there", "gone"), [("--causes", "causes", "checks"), ("--checks", "checks", "causes")]
)
def test_list_one_kind(flag, there, gone):
    data = json.loads(holter("list", flag, "--format", "json").output)
    assert there in data and gone not in data


def test_list_for_people():
    result = holter("list")
    assert result.exit_code == 0
    assert all(label in result.output for label in CAUSES)
    assert all(code in result.output for code in CHECKS)
    assert max(map(len, result.output.splitlines())) <= 80


def test_help_names_every_command():
    result = holter("--help")
    assert all(name in result.output for name in COMMANDS)


def test_a_case_in_words():
    assert case_text({"series": {"loss": [1.0] * 12}, "config": {"fp16": True}}) == (
        "loss 1, 1, 1, 1, 1, 1, 1, 1 ... (12 points); fp16=True"
    )
    assert case_text({}) == "nothing was logged"


def test_needs_in_words():
    from holter.checks.base import Needs

    needs = Needs(series={"loss": 5}, config=["fp16"], any_of=[["lr"], ["events", "code"]])
    assert needs_text(needs) == "5 logged loss values, the setting fp16 and lr or events and code."
    assert needs_text(Needs()) == "Nothing in particular."
