"""Which plots a run deserves: the series, what to compare them with, and the steps worth marking."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from holter.diagnosis.result import Diagnosis
from holter.finding import Severity
from holter.reports.blocks import Curve, Mark, Plot, Yardstick
from holter.reports.wording import number
from holter.run import Run, Series

MOST_PLOTS = 8  # more would bury the ones that matter; the numbers themselves stay in the user's files
MOST_MARKS = 6  # labels of more would overlap at the width of a page
FEWEST_POINTS = 2  # a single point is a sentence, not a plot

LOSSES = ("loss", "eval_loss")
CORE = {"grad_norm": "max_grad_norm", "learning_rate": "learning_rate", "loss_scale": ""}
"""Series -> the setting that its line is compared with."""
BOOKKEEPING = (
    "runtime",
    "per_second",
    "samples",
    "num_tokens",
    "num_input_tokens",
    "total_flos",
    "epoch",
    "train_loss",
)


def plots(diagnosis: Diagnosis, run: Run) -> list[Plot]:
    """The plots of a run, most telling first; empty where nothing was logged twice."""
    marks = _marks(diagnosis)
    found = list(_plots(run))[:MOST_PLOTS]
    return [_marked(plot, marks) for plot in found]


def _plots(run: Run) -> Iterator[Plot]:
    losses = [run.series[name] for name in _loss_names(run)]
    yield from _together("loss", [s for s in losses if _worth(s)], _loss_yardsticks(run))
    for name, limit in CORE.items():
        if _worth(run.series.get(name)):
            yield _plot(name, [run.series[name]], _setting_line(run, limit))
    for name in sorted(run.series):
        is_core = name in CORE or name in _loss_names(run)
        if not is_core and _worth(run.series[name]) and not any(word in name for word in BOOKKEEPING):
            yield _plot(name, [run.series[name]], ())


def _loss_names(run: Run) -> list[str]:
    named = [name for name in LOSSES if name in run.series]
    return named or [name for name in sorted(run.series) if name.endswith("loss") and name != "train_loss"][:2]


def _worth(series: Series | None) -> bool:
    return series is not None and len(series) >= FEWEST_POINTS


def _together(title: str, series: Sequence[Series], lines: tuple[Yardstick, ...]) -> Iterator[Plot]:
    """One plot where the series share an axis, else one each."""
    if not series:
        return
    if _axis(series) == "log entry" and len(series) > 1:
        for one in series:
            yield _plot(one.name, [one], lines)
    else:
        yield _plot(title if len(series) > 1 else series[0].name, series, lines)


def _plot(title: str, series: Sequence[Series], lines: tuple[Yardstick, ...]) -> Plot:
    axis = _axis(series)
    return Plot(title=title, curves=tuple(_curve(s, axis) for s in series), yardsticks=lines, x_name=axis)


def _axis(series: Sequence[Series]) -> str:
    for name in ("step", "epoch"):
        if not any(math.isnan(x) for s in series for x in (s.steps if name == "step" else s.epochs)):
            return name
    return "log entry"


def _curve(series: Series, axis: str) -> Curve:
    xs: Sequence[float] = range(1, len(series) + 1)
    if axis != "log entry":
        xs = series.steps if axis == "step" else series.epochs
    return Curve(name=series.name, xs=xs, ys=series.values)


def _loss_yardsticks(run: Run) -> tuple[Yardstick, ...]:
    """ln(C) of a guess among C classes, or of a guess among all tokens of the vocabulary (cross-entropy in nats)."""
    classes, vocabulary = _whole(run, "num_labels"), _whole(run, "vocab_size")
    if classes > 1 and ("Classification" in str(run.get("architectures", "")) or not vocabulary):
        return (Yardstick(value=math.log(classes), label=f"ln({classes:,} classes) = {math.log(classes):.2f}"),)
    if vocabulary > 1:
        value = math.log(vocabulary)
        return (Yardstick(value=value, label=f"ln({vocabulary:,} tokens) = {value:.2f}"),)
    return ()


def _setting_line(run: Run, name: str) -> tuple[Yardstick, ...]:
    value = run.get(name) if name else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return ()
    return (Yardstick(value=float(value), label=f"{name} = {number(value)}"),)


def _whole(run: Run, name: str) -> int:
    value = run.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _marks(diagnosis: Diagnosis) -> tuple[Mark, ...]:
    """The step of the first dated evidence of each finding that matters; codes of one step share a line."""
    at: dict[int, list[str]] = {}
    for finding in diagnosis.findings:
        step = next((e.step for e in finding.evidence if e.step is not None), None)
        if finding.severity >= Severity.WARNING and step is not None and finding.code not in at.get(step, []):
            at.setdefault(step, []).append(finding.code)
    return tuple(Mark(x=step, label=" ".join(sorted(codes))) for step, codes in sorted(at.items()))[:MOST_MARKS]


def _marked(plot: Plot, marks: tuple[Mark, ...]) -> Plot:
    if plot.x_name != "step":
        return plot
    return Plot(title=plot.title, curves=plot.curves, yardsticks=plot.yardsticks, marks=marks, x_name=plot.x_name)
