"""What went wrong in a run, as far as settings and facts are weighed against it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from holter.checks.shape import shape
from holter.checks.verdicts import kept_at, tells_nan
from holter.finding import Evidence
from holter.patterns import regex
from holter.run import Run, Series

TRAIN_LOSSES = ("loss", "train_loss", "training_loss")
EVAL_LOSSES = ("eval_loss", "val_loss", "validation_loss", "valid_loss")
GRADIENTS = ("grad_norm",)
INSIDE = regex(
    r"hidden_states?|logits|outputs?|activations?|scores|loss$|grad|^weights?$|^param\w*$|predictions?"
    r"|softmax|log_?probs?|log_?ps?(?:$|[_./])|^(?:weight_|param_)?updates?$|attention|attn|^embeddings?$|^distances?$|^derivatives?$"
)
QUOTED = 160
"""Characters of a line that are shown: two lines of a terminal."""

LOSS_NOT_FINITE = regex(
    r"(?:\b|_)loss(?:es)?\b(?: \([a-z, ]+\))?[^a-z\n]{0,60}(?P<said>nan|-?inf)\b"
    r"(?!\s*(?:(?:values?|counts?|checks?)(?:\s+\w+)?)?\s*[:=]\s*(?:\d|true\b|false\b))"
    r"|\btensor\((?P<printed>nan|-?inf)\b[^)]{0,40}grad_fn=<"
    r"|^(?:\w+\()?[\[\s]*\[\s*(?P<row>nan)(?:,?\s+nan)+\s*\]"
    r"|\bgrad(?:ient)?s?\b(?!.{0,3}norm)\W{1,4}(?P<grad>nan)s?\W{0,3}$"
    r"|\b(?P<drawn>nan) or inf found in input tensor"
)
"""A loss followed by NaN or infinity, a printed number that is one and has a gradient, as only a loss has, a
printed row of nothing else, a line that ends with the gradient being one, or
TensorBoard's writer saying that what it was given to draw is one."""
PRINTED_NAN = regex(
    r"^(?:(?:out(?:put)?|prints?|printed|results?|returns?|grad(?:ient)?|loss)\W{0,3}|[->=#\s])*"
    r"(?:(?:\w{1,20}\.){0,3}(?:\w{0,20}tensor|(?:device)?array|parameter))?\(?[\[(\s]*(?:-?\d[\d.]*(?:e[-+]?\d+)?,?\s+)*"
    r"nan\b(?:[\s,.\])(]|nan\b|-?\d[\d.]*(?:e[-+]?\d+)?(?![\w.])|[a-z_]+=(?:\([\d, ]*\)|[\w.<>:'\"]+)(?![\w.<>:'\"]))*$"
)
"""A comment that is nothing but a printed NaN: ``tensor([nan, nan], grad_fn=<DivBackward0>)``."""
TOLD_NAN = regex(
    r"^(?!if\b|when|avoid|prevent|in case|check|skip|no\b|never|without|can\b|may\b|might|could|would|to\b)"
    r"[\w .()\[\],'=+-]{1,40}?"
    r"(?:\b(?:is|are|holds?|becomes?|gives?|returns?|contains?|has|turns?|goes|prints?|outputs?)\b|[:=]|->|=>)"
    r"\s*(?:all |only |now |already |to |a |full of |filled with )*nans?\b(?! (?:if|when|or|check|filter))[^?]{0,40}$"
)
"""A comment that tells what came out: ``the gradient is nan``."""
PRINTED_TRUE = regex(r"^[->=\s]*(?:tensor\()?true\)?(?:, device=.*)?$")
ASKS_FOR_NAN = frozenset({"isnan", "isinf", "is_nan"})
"""Functions whose answer yes means the same."""
PART_OF_LOSS = regex(r"(?:^|[_/.])(?:loss|kld?|elbo|nll)\d{0,2}(?:$|[_/.])")


def number(value: Any) -> float | None:
    """A plain number, also where it was written as ``nan``, ``inf`` or text; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value.strip().lstrip("."))
        except ValueError:
            return None
    return None


def numbers(value: Any) -> list[float]:
    """The numbers in a plain value: itself, or those of a list."""
    items = value if isinstance(value, list) else [value]
    return [found for item in items if (found := number(item)) is not None]


def nonfinite(run: Run, *names: str) -> Evidence | None:
    """The first NaN or infinity among the named quantities (losses and gradient norms by default), or None."""
    for name in names or (*TRAIN_LOSSES, *EVAL_LOSSES, *GRADIENTS, *_parts_of_loss(run)):
        series = run.series.get(name)
        if series is not None and (index := shape(series).first_nonfinite) is not None:
            return _point(series, index)
        if (found := next((e for value, e in _written(run, name) if not math.isfinite(value)), None)) is not None:
            return found
    return None if names else _noted_nan(run)


def _noted_nan(run: Run) -> Evidence | None:
    """A person's note that values inside the model are not finite."""
    for name, values in run.facts.items():
        for value in values:
            if INSIDE.search(name.lower()) and tells_nan(value.value):
                return Evidence(text=f"{name}: {value.value}", source=value.source, value=float("nan"))
    return said_not_finite(run) or printed_nan(run)


def not_finite_anywhere(run: Run) -> Evidence | None:
    """As `nonfinite` without names, and also among logged quantities from inside the model."""
    found = nonfinite(run)
    if found is not None:
        return found
    series = (s for name, s in run.series.items() if INSIDE.search(name.lower()))
    return next((_point(s, index) for s in series if (index := shape(s).first_nonfinite) is not None), None)


def said_not_finite(run: Run) -> Evidence | None:
    """The first line of the log, no metric line, in which a loss is followed by NaN or infinity; None without one."""
    for event in run.events:
        if (match := LOSS_NOT_FINITE.search(event.text.lower())) is not None:
            text = event.text.strip()[:QUOTED]
            return Evidence(
                text=text, source=event.source, step=event.step, value=float(next(filter(None, match.groups())))
            )
    return None


def printed_nan(run: Run) -> Evidence | None:
    """The first comment in a script that shows a printed NaN, as short programs that reproduce a fault have it."""
    for code in run.code:
        asked = any(call.name.rsplit(".", 1)[-1] in ASKS_FOR_NAN for call in code.calls)
        for comment in code.comments:
            text = comment.strip().lower()
            if PRINTED_NAN.match(text) or TOLD_NAN.match(text) or (asked and PRINTED_TRUE.match(text)):
                return Evidence(text=f"# {comment.strip()[:QUOTED]}", source=code.source, value=float("nan"))
    return None


def _parts_of_loss(run: Run) -> Iterator[str]:
    """Names of further losses, such as ``ctc_loss`` or ``loss_cls``."""
    return (name for name in (*run.series, *run.facts) if PART_OF_LOSS.search(name.lower()))


def exactly_zero(run: Run, *names: str) -> Evidence | None:
    """The first value that is exactly 0.0 among the named quantities, or None."""
    for name in names:
        series = run.series.get(name)
        if series is not None and (index := shape(series).first_zero) is not None:
            return _point(series, index)
        if (found := next((e for value, e in _written(run, name) if value == 0.0), None)) is not None:
            return found
    return None


def always_zero(run: Run, *names: str) -> Evidence | None:
    """A value of a quantity that is 0.0 wherever it is known, or None."""
    for name in names:
        series, written = run.series.get(name), list(_written(run, name))
        if series is not None and shape(series).zeros < len(series):
            continue
        if any(value != 0.0 for value, _ in written):
            continue
        if series:
            return _point(series, 0)
        if written:
            return written[0][1]
    return None


def finite(run: Run, *names: str) -> Evidence | None:
    """A finite value other than 0.0 of the named quantities, or None."""
    for name in names:
        series = run.series.get(name)
        index = None if series is None else next((i for i, v in enumerate(series.values) if _is_ordinary(v)), None)
        if series is not None and index is not None:
            return _point(series, index)
        if (found := next((e for value, e in _written(run, name) if _is_ordinary(value)), None)) is not None:
            return found
    return None


def broken(run: Run) -> Evidence | None:
    """A loss that cannot be right: not finite, or exactly 0.0; None where none is known."""
    return nonfinite(run) or exactly_zero(run, *TRAIN_LOSSES)


def _is_ordinary(value: float) -> bool:
    return math.isfinite(value) and value != 0.0


def _written(run: Run, name: str) -> Iterator[tuple[float, Evidence]]:
    """Values of a quantity that a person wrote down: among the facts, or in a table of runs."""
    for value in run.facts.get(name, ()):
        for found in _told(value.value):
            yield found, Evidence(text=f"{name} is {found}", source=value.source, value=found)
    for row in run.variants:
        if (cell := row.get(name)) is not None:
            for found in _told(cell.value):
                yield found, Evidence(text=f"{name} is {found}", source=cell.source, value=found)


def _told(value: Any) -> list[float]:
    """The numbers in a plain value, and one that it is said to keep: ``0.0 in each log line``."""
    kept = kept_at(value)
    return numbers(value) if kept is None else [kept]


def _point(series: Series, index: int) -> Evidence:
    value, step = series.values[index], series.step(index)
    at = "" if step is None else f" at step {step}"
    return Evidence(text=f"{series.name} is {value}{at}", source=series.place(index), step=step, value=value)


COMPLAINTS = (
    "observed",
    "symptom",
    "symptoms",
    "result",
    "note",
    "observation",
    "behaviour",
    "behavior",
    "outcome",
    "effect",
)


def complaint(run: Run, *words: str) -> Evidence | None:
    """A person's note on how the run went that contains one of ``words`` (lower case), or None."""
    for name in COMPLAINTS:
        for value in run.facts.get(name, ()):
            items = value.value if isinstance(value.value, list) else [value.value]
            for item in items:
                if isinstance(item, str) and any(word in item.lower() for word in words):
                    return Evidence(text=f"{name}: {item}", source=value.source, value=item)
    return None
