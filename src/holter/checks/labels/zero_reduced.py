"""LAB091 zero-label-reduced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, calls, is_on, known, seen
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

REDUCES = ("reduce_zero_label", "reduce_labels", "do_reduce_labels")
CLASSES = ("num_classes", "num_labels", "out_channels")
FEW = 2


class ZeroLabelReduced(Check):
    """What it looks for
        ``reduce_zero_label`` (transformers: ``do_reduce_labels``) for a segmentation of one or two classes.

    Why it hurts
        It turns label 0 into the ignored 255 and lowers all others by one. Where 0 is the background, the background is
        ignored and all that is left is one class: the model predicts it everywhere and the accuracy is 100.

    How to fix it
        ``reduce_zero_label=False``; it is for sets such as ADE20K, whose label 0 is no class.

    When to ignore it
        When label 0 marks what nobody labelled, and 1 and 2 are the classes.

    Threshold
        At most two classes.

    Sources
        MMSegmentation's documentation of ``reduce_zero_label``; transformers' documentation of ``do_reduce_labels``.
    """

    code = "LAB091"
    name = "zero-label-reduced"
    title = "The background of one or two classes is made the ignored label"
    severity = Severity.WARNING
    stage = Stage.DATA
    needs = Needs(any_of=(("code",), *((name,) for name in REDUCES)))
    bad = (
        script("a pipeline", "head = dict(num_classes=2)\nload = dict(type='L', reduce_zero_label=True)\n"),
        case("settings", config={"do_reduce_labels": True, "num_labels": 2}),
    )
    good = (
        case("many", files={"a.py": "head = dict(num_classes=150)\nload = dict(type='L', reduce_zero_label=True)\n"}),
        case("off", files={"a.py": "head = dict(num_classes=2)\nload = dict(type='L', reduce_zero_label=False)\n"}),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Both are read wherever they stand."""
        reduced, few = next(_given(run, REDUCES), None), next(_given(run, CLASSES), None)
        count = number(few.value) if few is not None else None
        if reduced is None or few is None or count is None or not is_on(reduced.value) or not 0 < count <= FEW:
            return
        message = f"label 0 is made the ignored label, and there are {count:g} classes"
        yield self.finding(
            message,
            evidence=[reduced, few],
            clues=clues(message, labels_all_masked=7.0, label_out_of_range=5.5),
            fix=Fix(summary="Set reduce_zero_label=False, where 0 is the background."),
        )


def _given(run: Run, names: tuple[str, ...]) -> Iterator[Evidence]:
    """A setting, or an argument of any call."""
    for call in calls(run, *{c.name.rsplit(".", 1)[-1] for code in run.code for c in code.calls}):
        for name in names:
            if name in call.kwargs:
                yield Evidence(text=call_text(call)[:160], source=seen(call).source, value=call.kwargs[name])
    found = known(run, *names)
    if found is not None:
        yield Evidence(text=found.evidence.text, source=found.value.source, value=found.plain)
