"""OPT055 detector-rate."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import given_count, model_names, optimiser_is_scale_invariant, task_words
from holter.checks.look import known, mixed_half
from holter.checks.shape import point
from holter.checks.symptoms import nonfinite, number
from holter.checks.verdicts import tells_nan
from holter.finding import Clue, Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

DETECTORS = regex(
    r"\br-?cnn\b|rcnn|retinanet|\bfcos\b|\bssd\d*\b|yolo|cascade|detectron|maskrcnn|mmdet|mmrotate|centernet"
    r"|\b(?:object|instance|face|text|lane|3d|oriented|pedestrian)[ _-](?:detection|segmentation)\b|^detection\b"
    r"|\bdetection,|efficientdet|darknet"
)
WITH_ADAMW = regex(r"\bdetr\b|\bdino\b|deformable|rt-?detr")
"""Detectors that are published with AdamW; the rule below is for SGD."""

PER_IMAGE = 0.02 / 16
"""Highest published rate of SGD for two-stage detectors, 0.02, over the 16 images of an update that it is meant for."""

TIMES = 1.5
"""Above the rule: recipes with one image a card, and the two common base rates, lie within it."""

DEFAULT_IMAGES = 2
"""Images a card in the settings that MMDetection ships."""

TOTALS = regex(r"(?:^|[._])(?:ims_per_batch|total_(?:train_)?batch_size|global_batch_size|images_per_update)$", re.I)
HUGE = 1e4
"""A loss of a detector is a sum of a few terms of about one; beyond it has left all bounds."""


class DetectorRate(Check):
    """What it looks for
        A detector trained by SGD whose loss is NaN, infinite or above ten thousand, or whose rate is above the linear
        rule for the images of an update.

    Why it hurts
        The rates of published settings are meant for 8 cards with 2 images each. On fewer cards, or with more where the
        code scales the rate itself, the same rate is several times too high, and box regression leaves all bounds.

    How to fix it
        Multiply the rate by (images of your update) / 16; then warm up for 1000 updates, and clip the gradient norm at
        35.

    When to ignore it
        When the loss is finite and falls; above the rule alone it is only a note.

    Threshold
        `PER_IMAGE` times the images of an update, times `TIMES`; `HUGE` for a loss.

    Sources
        Goyal et al. 2017, section 2.1 (linear rule); the model zoo and the questions and answers of MMDetection;
        Detectron's schedules for fewer GPUs.
    """

    code = "OPT055"
    name = "detector-rate"
    title = "A detector's rate does not suit its batch"
    severity = Severity.NOTE
    stage = Stage.UPDATE
    factor = "learning_rate"
    needs = Needs(any_of=(("model_name_or_path",), ("task",), ("framework",), ("model",)))
    bad = (
        case(
            "NaN", config={"framework": "MMDetection", "model_name_or_path": "Faster R-CNN"}, facts={"loss": math.nan}
        ),
        case(
            "a rate for eight cards",
            config={
                "framework": "mmdetection",
                "optim": "sgd",
                "learning_rate": 0.02,
                "world_size": 1,
                "per_device_train_batch_size": 2,
            },
        ),
        case(
            "the total is given",
            config={"task": "object detection", "SOLVER.IMS_PER_BATCH": 4, "learning_rate": 0.02},
        ),
        case("huge", config={"task": "object detection"}, series={"loss": [1.9, 3.0e5, 2.0e7]}),
        case(
            "told in a table", config={"framework": "detectron2"}, variants=[{"gpus": 4, "loss": "nan after a while"}]
        ),
        case("in some runs", config={"framework": "detectron2"}, variants=[{"world_size": 4, "loss": math.nan}]),
    )
    good = (
        case(
            "by the rule",
            config={
                "framework": "mmdetection",
                "learning_rate": 0.0025,
                "world_size": 1,
                "per_device_train_batch_size": 2,
            },
        ),
        case("finite", config={"task": "object detection", "learning_rate": 0.02}, series={"loss": [1.9, 1.2, 0.9]}),
        case("another kind of model", config={"task": "translation"}, facts={"loss": math.nan}),
        case("with Adam", config={"model_name_or_path": "DETR", "optim": "adamw_torch"}, facts={"loss": math.nan}),
    )
    not_enough = (case("no model", series={"loss": [1.0]}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The rate against the rule, or what became of the loss."""
        words = " ".join([task_words(run), *model_names(run)]).lower()
        if not DETECTORS.search(words) or WITH_ADAMW.search(words) or optimiser_is_scale_invariant(run):
            return
        shown = _broken(run)
        above = list(_above_the_rule(run))
        if shown is None and not above:
            return
        message = "a detector breaks: its loss leaves all bounds"
        if above:
            message = f"{above[-1].text}" + (", and the loss breaks" if shown is not None else "")
        yield self.finding(
            message,
            evidence=[*above, *([shown] if shown is not None else [])],
            clues=list(_clues(run, bool(above))),
            fix=Fix(summary="Multiply the rate by the images of an update over 16."),
        )


def _clues(run: Run, above: bool) -> Iterator[Clue]:
    if above:
        yield from clues("the rate is meant for more images an update", lr_too_high=5.0)
        return
    bits = 1.0 if mixed_half(run) is not None else 2.5
    why = "detectors mostly break at a rate that is meant for more images an update"
    yield from clues(why, lr_too_high=bits, grad_clip_disabled=1.5, warmup_missing=1.0)


HELD_OUT = ("eval", "val", "test")


def _broken(run: Run) -> Evidence | None:
    """A loss of training that is not finite, or huge."""
    shown = nonfinite(run)
    if shown is not None and not shown.text.startswith(HELD_OUT):
        return shown
    for row in run.variants:
        for name, cell in row.items():
            told = cell.value.lower() if isinstance(cell.value, str) and "loss" in name else ""
            if tells_nan(told) and not name.startswith(HELD_OUT):
                return Evidence(text=f"{name} is {cell.value}", source=cell.source, value=math.nan)
    loss = run.series.get("loss")
    index = next((i for i, value in enumerate(loss or ()) if value >= HUGE), None)
    return None if loss is None or index is None else point(loss, index)


def _above_the_rule(run: Run) -> Iterator[Evidence]:
    """The rate, and by how much it is above the rule; nothing where the images of an update are not known."""
    rate, images = known(run, "learning_rate"), _images(run)
    value = number(rate.plain) if rate is not None else None
    if rate is None or value is None or images is None or value <= TIMES * PER_IMAGE * images:
        return
    yield rate.evidence
    times = value / (PER_IMAGE * images)
    yield Evidence(text=f"a rate of {value:g} is {times:.3g} times what the linear rule gives for {images:g} images")


def _images(run: Run) -> float | None:
    """Images of an update."""
    for name, values in run.config.items():
        total = number(values[0].value)
        if TOTALS.search(name) and total is not None and total >= 1:
            return total
    cards, each = given_count(run, "world_size"), given_count(run, "per_device_train_batch_size")
    if each is None and "mmdet" in task_words(run):
        each = DEFAULT_IMAGES
    return float(cards * each) if cards is not None and each is not None else None
