"""What the diagnosis suggests to type can be typed: the command exists, and a prediction parses."""

import re
import shlex

import pytest

from holter.cli import COMMANDS
from holter.diagnosis.causes import CAUSES
from holter.experiments.expression import parse

MEASUREMENTS = [pytest.param(c.confirm.command, id=c.label) for c in CAUSES.values() if c.confirm.command]


@pytest.mark.parametrize("command", MEASUREMENTS)
def test_suggested_command_can_be_typed(command):
    words = shlex.split(command)
    assert words[0] == "holter" and words[1] in COMMANDS
    if "--expect" in words:
        parse(words[words.index("--expect") + 1])
    for setting in re.findall(r"--set (\S+)", command):
        assert re.fullmatch(r"[\w.]+=\S+", setting)
