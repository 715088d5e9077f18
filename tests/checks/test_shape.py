"""The shape of a series agrees with a second, slow and obvious computation."""

import math
import random
from statistics import median

import pytest

from holter.checks.loss._course import jumps, rise_to_the_end, steps_restart
from holter.checks.shape import at_step, shape, tabled, updates_before
from holter.run import Series, Source
from holter.testing import make_run


def series_of(values, steps=None):
    series = Series(name="loss", source=Source(file="case"))
    for index, value in enumerate(values):
        series.append(value, step=steps[index] if steps else index + 1, line=index + 1)
    return series


@pytest.mark.parametrize("length", [1, 2, 7, 99, 100, 101, 2500])
def test_levels_are_those_of_the_plain_values(length):
    random.seed(length)
    values = [random.uniform(0.1, 9.0) for _ in range(length)]
    found = shape(series_of(values))
    assert (found.count, found.nonfinite, found.zeros) == (length, 0, 0)
    assert found.low == min(values) and found.high == max(values)
    width = min(length, max(3, length // 10))
    assert found.head == pytest.approx(median(values[:width]), abs=1.5)
    assert found.tail == pytest.approx(median(values[-width:]), abs=1.5)
    assert sum(b.stop - b.start for b in found.bins) == length


def test_nonfinite_values_are_counted_and_left_out_of_levels():
    found = shape(series_of([2.0, math.nan, 0.0, math.inf, 1.0]))
    assert (found.nonfinite, found.first_nonfinite, found.zeros, found.first_zero) == (2, 1, 1, 2)
    assert (found.low, found.high) == (0.0, 2.0)


def test_nothing_finite_has_no_levels():
    found = shape(series_of([math.nan, math.inf]))
    assert found.bins == () and math.isnan(found.head) and math.isnan(found.low)


def test_shape_is_worked_out_anew_when_the_series_grows():
    series = series_of([1.0, 2.0])
    assert shape(series).high == 2.0
    series.append(9.0, step=3)
    assert shape(series).high == 9.0


@pytest.mark.parametrize(
    ("steps", "index", "expected"),
    [([1, 2, 3], 0, 0), ([10, 20, 30], 0, 0), ([10, 20, 30], 2, 20), ([400, 401], 0, 399)],
)
def test_updates_before_a_logged_mean(steps, index, expected):
    assert updates_before(series_of([1.0] * len(steps), steps), index) == expected


def test_value_at_a_step_is_the_last_one_logged():
    series = series_of([3.0, 2.0, 1.0], [10, 20, 30])
    assert at_step(series, 25) == 2.0
    assert math.isnan(at_step(series, 5))


def test_a_rise_needs_an_end_above_the_best():
    assert rise_to_the_end(series_of([3.0, 2.0, 1.5, 1.2, 1.1, 1.0, 0.9])) is None
    rise = rise_to_the_end(series_of([3.0, 1.0, 1.0, 1.0, 3.0, 4.0, 4.0, 4.0]))
    assert rise.from_level == 1.0 and rise.to_level == 4.0 and rise.ratio == 4.0


def test_a_jump_stays_up_and_a_spike_does_not():
    assert jumps(series_of([1.0, 0.9, 3.0, 2.9, 2.8, 2.8]), ratio=2.0, nats=0.3) == [2]
    assert jumps(series_of([1.0, 0.9, 3.0, 0.9, 0.8, 0.8]), ratio=2.0, nats=0.3) == []


def test_restarts_are_where_steps_fall():
    assert steps_restart(series_of([1.0] * 5, [1, 2, 3, 2, 3])) == [3]
    assert steps_restart(series_of([1.0] * 3, [1, 2, 3])) == []


def test_a_table_by_epoch_is_a_series_and_a_table_of_runs_is_not():
    by_epoch = make_run(variants=[{"epoch": 1, "eval_loss": 0.9}, {"epoch": 2, "eval_loss": 0.8}])
    assert list(tabled(by_epoch, "eval_loss")) == [0.9, 0.8]
    of_runs = make_run(variants=[{"seed": 1, "eval_loss": 0.9}, {"seed": 2, "eval_loss": 0.8}])
    assert tabled(of_runs, "eval_loss") is None
