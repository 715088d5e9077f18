"""Plots keep spikes, mark what is not a number, and choose their axes."""

import math
import xml.etree.ElementTree as ElementTree

import pytest

from holter.reports.blocks import Curve, Mark, Plot, Yardstick
from holter.reports.charts import plots
from holter.reports.plots import svg
from holter.reports.scale import tick_text, value_axis, wants_log
from holter.reports.thin import gather, split, thin
from holter.testing import make_run


def picture(ys, **more):
    return svg(Plot(title="loss", curves=(Curve(name="loss", xs=range(1, len(ys) + 1), ys=ys),), **more))


def elements(drawn, name):
    return [e for e in ElementTree.fromstring(drawn).iter() if e.tag == name]


def test_thinning_keeps_every_spike():
    points = [(float(i), 1.0) for i in range(100_000)]
    points[50_001] = (50_001.0, 900.0)
    points[70_001] = (70_001.0, -900.0)
    kept = thin(points, 0.0, 99_999.0, 700)
    assert len(kept) <= 4 * 701
    assert (50_001.0, 900.0) in kept and (70_001.0, -900.0) in kept
    assert kept == sorted(kept)


def test_few_points_are_all_drawn():
    points = [(0.0, 1.0), (1.0, 2.0)]
    assert thin(points, 0.0, 1.0, 700) == points


def test_lines_break_where_a_point_has_no_place():
    stretches, odd = split([1, 2, 3, 4, 5], [1.0, math.nan, 0.0, 2.0, math.inf], log=True)
    assert stretches == [[(1, 1.0)], [(4, 2.0)]]
    assert [(o.x, o.kind) for o in odd] == [(2, "nan"), (3, "zero"), (5, "inf")]
    assert [len(group) for group in gather(odd, 10.0)] == [1, 1, 1]


def test_marks_that_would_touch_are_gathered():
    _, odd = split(list(range(50)), [math.nan] * 50, log=False)
    assert [len(group) for group in gather(odd, 1.0)] == [50]
    assert [len(group) for group in gather(odd, 0.5)] == [1] * 50


@pytest.mark.parametrize(
    ("values", "log"),
    [([1.0, 99.0], False), ([1.0, 101.0], True), ([-1.0, 500.0], False), ([0.0, math.nan], False), ([], False)],
)
def test_log_only_over_decades(values, log):
    assert wants_log(values) is log


@pytest.mark.parametrize(
    "values",
    [
        [], [0.0], [5.0, 5.0], [math.nan], [math.inf, -math.inf], [1e308, -1e308], [5e-324, 1e308],
        [1e-12, 1.0], [3.0], [-2.0, -1.0], [7129515.3, 0.0, 2.0], [1e16, 1e16 + 2],
    ],
)  # fmt: skip
def test_every_series_can_be_drawn(values):
    drawn = picture(values)
    ElementTree.fromstring(drawn)
    assert "nan," not in drawn and "inf," not in drawn and ",nan" not in drawn


def test_axis_holds_all_values():
    axis = value_axis([2.0, 8.0], log=False)
    assert axis.low <= 2.0 and axis.high >= 8.0
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())
    assert len(value_axis([1.0, 1e6], log=True).ticks()) >= 2


def test_numbers_without_place_are_marked_and_counted():
    drawn = picture([2.0, math.nan, 1.0, math.inf])
    assert len([e for e in elements(drawn, "path") if "odd" in e.get("class")]) == 2
    assert "1 nan" in drawn and "1 inf" in drawn


def test_yardsticks_and_marks():
    drawn = picture(
        [6.0, 5.0, 4.0],
        yardsticks=(Yardstick(value=5.63, label="ln(280 classes) = 5.63"),),
        marks=(Mark(x=2, label="A"),),
    )
    assert len([e for e in elements(drawn, "line") if e.get("class") == "yardstick"]) == 1
    assert "ln(280 classes) = 5.63" in drawn
    assert len([e for e in elements(drawn, "line") if e.get("class") == "mark"]) == 1


def test_a_yardstick_far_away_is_named_but_does_not_flatten_the_curve():
    drawn = picture([0.010, 0.011], yardsticks=(Yardstick(value=1.0, label="max_grad_norm = 1"),))
    assert not [e for e in elements(drawn, "line") if e.get("class") == "yardstick"]
    assert "max_grad_norm = 1" in drawn


def test_names_are_escaped():
    drawn = svg(Plot(title="<b>", curves=(Curve(name="<script>", xs=[1, 2], ys=[1.0, 2.0]),)))
    assert "<script>" not in drawn and "&lt;script&gt;" in drawn


def test_a_long_series_stays_small():
    drawn = picture([1.0 + (i % 7) for i in range(50_000)])
    assert len(drawn) < 60_000


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1e-5, "1e-5"), (3e-4, "0.0003"), (12345678.0, "12.35M"), (0.25, "0.25"), (1e20, "1e20")],
)
def test_ticks_are_short(value, text):
    assert tick_text(value) == text


def test_which_plots_a_run_gets():
    from sample_diagnosis import make_fault

    run = make_run(
        series={
            "loss": [6.0, 5.0],
            "eval_loss": [5.0, 5.0],
            "grad_norm": [3.0, 2.0],
            "eval_runtime": [1.0, 1.0],
            "eval_accuracy": [0.1, 0.2],
            "learning_rate": [1e-4, 1e-5],
            "train_loss": [5.5],
        },
        config={"num_labels": 280, "max_grad_norm": 1.0},
    )
    made = plots(make_fault(), run)
    assert [p.title for p in made] == ["loss", "grad_norm", "learning_rate", "eval_accuracy"]
    assert [c.name for c in made[0].curves] == ["loss", "eval_loss"]
    assert made[0].yardsticks[0].value == pytest.approx(math.log(280))
    assert made[1].yardsticks[0].value == 1.0
    assert [(m.x, m.label) for m in made[0].marks] == [(600, "NUM901")]
