"""YAML and JSON: one value changes, every other byte stays."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from holter.fixes import json_file, yaml_file
from holter.fixes.patch import Edit
from holter.fixes.spans import json_spans

TRAINING = """\
# training of the classifier
common: &common
  learning_rate: &lr 1.0e-5   # do not raise
  fp16:   true  # T4

trainer:
  <<: *common
  warmup_ratio: 0.01
  lr2: *lr
  lists: [a, "b"]   # two
  name: 'quoted'
other: {fp16: true, x: 1}
"""


def changed_lines(before, after):
    return [(a, b) for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b]


@pytest.mark.parametrize(
    ("spelling", "new", "line"),
    [
        ("common.fp16", False, "  fp16:   false  # T4"),
        ("common.learning_rate", 2e-5, "  learning_rate: &lr 2.0e-05   # do not raise"),
        ("trainer.warmup_ratio", 0.1, "  warmup_ratio: 0.1"),
        ("trainer.lists", ["c"], '  lists: ["c"]   # two'),
        ("trainer.name", "no", '  name: "no"'),
        ("other.fp16", False, "other: {fp16: false, x: 1}"),
    ],
)
def test_yaml_value_is_replaced_in_place(spelling, new, line):
    after = yaml_file.patch(TRAINING, [Edit(key="k", spelling=spelling, new=new)])
    assert [b for _, b in changed_lines(TRAINING, after)] == [line]


def test_yaml_line_chooses_among_equal_keys():
    text = "a: 1\n---\na: 1\n"
    assert yaml_file.patch(text, [Edit(key="a", new=2, line=3)]) == "a: 1\n---\na: 2\n"


def test_yaml_missing_key_is_added_beside_its_siblings():
    after = yaml_file.patch(TRAINING, [Edit(key="bf16", spelling="trainer.bf16", new=True)])
    assert yaml.safe_load(after)["trainer"]["bf16"] is True
    assert after.replace("  bf16: true\n", "") == TRAINING
    flow = yaml_file.patch("a: {b: 1}\n", [Edit(key="c", spelling="a.c", new=2)])
    assert yaml.safe_load(flow) == {"a": {"b": 1, "c": 2}}


def test_yaml_keeps_windows_line_ends_and_is_idempotent():
    text = "fp16: true\r\nlr: 1\r\n"
    edits = [Edit(key="fp16", new=False), Edit(key="bf16", new=True)]
    once = yaml_file.patch(text, edits)
    assert once.count("\r\n") == 3 and once.count("\n") == 3
    assert yaml_file.patch(once, edits) == once


def test_yaml_that_is_none_is_refused():
    with pytest.raises(ValueError, match="not YAML"):
        yaml_file.patch("a: [1", [Edit(key="a", new=2)])
    with pytest.raises(ValueError, match="no mapping"):
        yaml_file.patch("- 1\n", [Edit(key="a", new=2)])


@given(st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.booleans() | st.none() | st.integers())
def test_yaml_reads_back_what_was_written(value):
    after = yaml_file.patch("a: 1  # why\nb: 2\n", [Edit(key="a", new=value)])
    assert yaml.safe_load(after) == {"a": value, "b": 2}


def test_json_value_is_replaced_in_place():
    text = '{\n\t"fp16": {"enabled": true, "loss_scale": 0},\n\t"gradient_clipping": 1.0\n}\n'
    after = json_file.patch(text, [Edit(key="fp16", spelling="fp16.enabled", new=False)])
    assert after == text.replace("true", "false")


@pytest.mark.parametrize("text", ['{\n  "a": 1\n}', '{"a": 1}', "{}", '{ "a": {"b": []} }'])
def test_json_missing_key_is_added(text):
    after = json_file.patch(text, [Edit(key="bf16", new=True)])
    assert json.loads(after) == {**json.loads(text), "bf16": True}
    assert json_file.patch(after, [Edit(key="bf16", new=True)]) == after


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_json_spans_cover_every_value(value):
    text = json.dumps(value, indent=1, ensure_ascii=False)
    for path, (start, end) in json_spans(text).items():
        inside = value
        for part in path:
            inside = inside[part]
        assert json.loads(text[start:end]) == inside


@pytest.mark.parametrize("text", ["", "{", '{"a" 1}', '{"a": 1', "[1 2]", "{} {}"])
def test_json_spans_refuse_what_is_not_json(text):
    with pytest.raises(ValueError):
        json_spans(text)
