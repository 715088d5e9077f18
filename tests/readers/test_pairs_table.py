"""Tables of names and values are the settings, or the observations, that they name."""

from __future__ import annotations

import json

import pytest

from holter.readers import read

SETTINGS = {"learning_rate": "1e-4", "own_switch": "yes", "output_dir": "out"}


def csv_of(head, pairs):
    return "\n".join(f"{key},{value}" for key, value in [head, *pairs.items()]) + "\n"


def piped(head, pairs):
    first, *rest = (f"| {key} | {value} |" for key, value in [head, *pairs.items()])
    return "\n".join([first, "|---|---|", *rest]) + "\n"


def html(head, pairs):
    rows = (f"<tr><td>{key}</td><td>{value}</td></tr>" for key, value in [head, *pairs.items()])
    return "<table>\n" + "\n".join(rows) + "\n</table>\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.csv", csv_of(("parameter", "value"), SETTINGS)),
        ("issue.md", "My settings:\n\n" + piped(("Hyperparameter", "Value"), SETTINGS)),
        ("issue.md", "My settings:\n\n" + html(("argument", "value"), SETTINGS)),
        ("config.yaml", json.dumps({"training_args": SETTINGS, "paths": {"cache": "c"}})),
    ],
)
def test_settings(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    run = read([tmp_path])
    assert run.get("learning_rate") == 1e-4 and run.get("own_switch") in (True, "yes")


def test_a_list_of_names_and_values_is_a_mapping(tmp_path):
    text = "".join(f"- name: {key}\n  value: {value}\n" for key, value in SETTINGS.items())
    (tmp_path / "config.yaml").write_text(text)
    run = read([tmp_path])
    assert run.get("learning_rate") == 1e-4 and run.get("own_switch") is True


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("observed.csv", "quantity,value\nloss,nan\nweights,unchanged\n"),
        ("issue.md", "My run stops learning, any idea?\n\n| what I see | value |\n|---|---|\n| loss | nan |\n"
                     "| weights | unchanged |\n"),
    ],
)  # fmt: skip
def test_observations(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    run = read([tmp_path])
    assert [str(value) for value in run.series["loss"]] == ["nan"]
    assert run.facts["weights"][0].value == "unchanged" and run.facts["weights"][0].source.line == text.count("\n")


@pytest.mark.parametrize(
    "text",
    [
        "| argument | description |\n|---|---|\n| learning_rate | the first rate |\n",
        "| parameter | value |\n|---|---|\n| lr | 1e-4 |\n| lr | 1e-5 |\n",
        "| class | value |\n|---|---|\n| cat | 3 |\n| dog | 4 |\n",
    ],
)
def test_other_tables_are_none(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "log.txt").write_text("{'loss': 2.0, 'epoch': 1.0}\n")
    run = read([tmp_path])
    assert not {"cat", "dog", "lr"} & {*run.config, *run.facts} and run.get("learning_rate") != "the first rate"
