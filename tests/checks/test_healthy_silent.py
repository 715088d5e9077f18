"""Healthy runs raise no alarm: made-up ones of many kinds, real ones, and any stretch of real ones."""

import csv
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.checks.engine import run_checks
from holter.checks.registry import CHECKS, load
from holter.finding import Outcome, Severity
from holter.readers import read
from holter.run import Run, Series
from holter.testing import make_run

CHECKED = [load(code) for code in sorted(CHECKS) if code.startswith(("NUM", "OPT", "LOS"))]


def alarms(run):
    results = run_checks(run, CHECKED)
    assert not [r.reason for r in results.of(Outcome.CRASHED)]
    return [f"{f.code}: {f.message}" for f in results.findings if f.severity >= Severity.WARNING]


def falling(length, start, end, noise, seed):
    generator = random.Random(seed)
    width = (start - end) / 5
    return [
        max(end / 2, end + (start - end) * math.exp(-5 * i / length) + generator.gauss(0, noise * width))
        for i in range(length)
    ]


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(4, 300),
    start=st.floats(0.5, 12.0),
    share=st.floats(0.05, 0.7),
    noise=st.floats(0.0, 0.6),
    peak=st.floats(1e-7, 5e-4),
    seed=st.integers(0, 10_000),
)
def test_a_falling_loss_is_healthy(length, start, share, noise, peak, seed):
    loss = falling(length, start, start * share, noise, seed)
    warm = max(1, length // 10)
    rate = [peak * min((i + 1) / warm, (length - i) / max(1, length - warm)) for i in range(length)]
    norms = [random.Random(seed + i).uniform(0.3, 30.0) for i in range(length)]
    run = make_run(series={"loss": loss, "learning_rate": rate, "grad_norm": norms}, config={"max_grad_norm": 1.0})
    assert alarms(run) == []


@pytest.mark.parametrize(
    "contents",
    [
        {"series": {"loss": [0.0] * 8, "reward": [0.1 * i for i in range(8)], "grad_norm": [0.3] * 8}},
        {"series": {"loss": [0.6931, 0.69, 0.67, 0.64], "rewards/chosen": [0.0, 0.01, 0.05, 0.1]}},
        {"series": {"loss": [1.4] * 20 + [1.0] * 20 + [0.6] * 20}},
        {"series": {"loss": [2.1, 2.0], "grad_norm": [math.inf, 1.2]}, "config": {"fp16": True}},
        {"series": {"loss": [29.7, 26.3]}, "config": {"model_name_or_path": "google/mt5-small", "fp16": True}},
        {"series": {"loss": [2000 * math.exp(-i / 10) + 300 for i in range(40)]}},
        {"series": {"loss": [0.03, 0.01, 0.02, 0.04, 0.0, 0.01, 0.02, 0.01]}},
    ],
    ids=["policy", "preference", "stairs", "settling", "fresh head", "squared error", "memorised"],
)  # fmt: skip
def test_other_healthy_runs(contents):
    assert alarms(make_run(**contents)) == []


def public_logs(shared, looks):
    index = shared / "runs" / "index.tsv"
    with index.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [shared / "runs" / row["file"] for row in rows if row["looks"] == looks]


@pytest.mark.real_data
def test_real_healthy_logs_are_silent(shared):
    found = {path.name: alarms(read([path])) for path in public_logs(shared, "healthy")}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.real_data
def test_real_broken_logs_are_flagged(shared):
    assert [path.name for path in public_logs(shared, "broken") if not alarms(read([path]))] == []


@pytest.mark.real_data
def test_stretches_of_real_healthy_logs_are_silent(shared):
    generator = random.Random(7)
    said = {}
    for path in public_logs(shared, "healthy"):
        run = read([path])
        loss = run.series["loss"]
        for _ in range(4):
            begin = generator.choice([0, generator.randrange(max(1, len(loss) - 3))])
            end = generator.randrange(min(begin + 3, len(loss)), len(loss) + 1)
            found = alarms(stretch(run, loss.steps[begin], loss.steps[end - 1]))
            if found:
                said[f"{path.name} {begin}:{end}"] = found
    assert said == {}


def stretch(run, first, last):
    """The points of a run between two steps."""
    part = Run(config=run.config, facts=run.facts)
    for name, whole in run.series.items():
        series = Series(name=name, source=whole.source)
        for i, value in enumerate(whole):
            if first <= whole.steps[i] <= last:
                series.append(value, step=whole.steps[i], epoch=whole.epochs[i], line=whole.lines[i])
        if len(series):
            part.series[name] = series
    return part
