"""Real logs: what the index says of them is what is read, and no number printed beside a known key is lost."""

import csv
import re
from collections import Counter

import pytest

from holter.names import series_name
from holter.readers import read
from holter.readers.console_log import read_lines
from holter.run import EVENT_OVERFLOW

pytestmark = pytest.mark.real_data

PRINTED = re.compile(
    r"""['"]?\b(?P<key>(?:eval_|train_|lm_|val_|valid_)?(?:loss|acc|accuracy)|"""
    r"""grad_norm|gnorm|learning[_ ]rate|lr|reward|kl)['"]?"""
    r"""\s*[:=]\s*['"\[]?(?P<value>[-+]?(?:\d[\d.]*(?:[eE][-+]?\d+)?|nan|inf))(?![\w:])""",
    re.IGNORECASE,
)


def test_the_index_is_met(shared):
    rows = list(csv.DictReader((shared / "runs" / "index.tsv").open(encoding="utf-8"), delimiter="\t"))
    assert rows
    for row in rows:
        run = read([shared / "runs" / row["file"]])
        for name, count in (("loss", row["n_loss"]), ("eval_loss", row["n_eval"])):
            found = len(run.series[name]) if name in run.series else 0
            assert found == int(count or 0), (row["file"], name)
        assert not run.gaps, row["file"]
        if row["first_loss"]:
            assert run.series["loss"][0] == pytest.approx(float(row["first_loss"]), rel=1e-3), row["file"]


def logs(shared):
    found = sorted((shared / "cases").glob("*/log*.txt")) + sorted((shared / "runs").glob("*.log"))
    assert found
    return found


def test_no_number_beside_a_known_key_is_lost(shared):
    for path in logs(shared):
        run = read([path])
        held = Counter(
            (series.name, _spelt(value)) for series in (*run.series.values(), *run.other_series) for value in series
        )
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            for match in PRINTED.finditer(line):
                name = series_name(match["key"])
                wanted = _spelt(float(match["value"].rstrip(".")))
                names = {name, "loss"} if name == "train_loss" else {name}
                kept = any((each, wanted) in held for each in names)
                assert kept or _is_told(line), (path.parent.name, line)


def _is_told(line):
    """A mention in words, such as a warning about a rate, is an event and not a metric."""
    return "returning lr=0" in line or bool(read_lines([(1, line)], "x").events_of(EVENT_OVERFLOW))


def _spelt(value):
    return f"{value:.9g}"


def test_every_line_of_a_log_leaves_a_trace(shared):
    for path in logs(shared):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        run = read([path])
        points = sum(len(series) for series in (*run.series.values(), *run.other_series))
        told = sum(event.count for event in run.events)
        assert points + told > 0, path
        if not points:
            quoted = "\n".join(event.text for event in run.events)
            assert told + quoted.count("\n") + len(run.config) >= len(lines), path


def test_the_pasted_logs_of_the_reports(shared):
    steps = read([shared / "reports" / "5-account-tax-optimization-check.md"]).series["loss"]
    assert (steps.step(0), steps[0], steps.step(len(steps) - 1)) == (1, 69.53, 20)
    epochs = read([shared / "reports" / "1-akkadian-byt5-fp16.md"]).series
    assert 7129515.3131 in epochs["loss"].values
    assert all(value != value for value in epochs["eval_loss"])
