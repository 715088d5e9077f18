"""EVL020 ignored-labels-scored."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, seen
from holter.checks.script import last_part, texts
from holter.finding import Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Code, Run
from holter.stages import Stage

SCORES = regex(
    r"^(?:accuracy_score|f1_score|precision_score|recall_score|precision_recall_fscore_support|classification_report"
    r"|balanced_accuracy_score|matthews_corrcoef)$"
)
FLAT = regex(r"\.(?:flatten|ravel|reshape|view)\(")
LABELS = regex(r"label|target|gold|y_true|refs?\b", re.I)
DROPS = regex(r"-\s*100|ignore_index|!= ?pad|mask|>= ?0|> ?-1|valid|active", re.I)
BY_TOKEN = (
    "DataCollatorForTokenClassification",
    "AutoModelForTokenClassification",
    "DataCollatorForSeq2Seq",
    "DataCollatorForLanguageModeling",
    "AutoModelForCausalLM",
    "AutoModelForMaskedLM",
)


class IgnoredLabelsScored(Check):
    """What it looks for
        A score over flattened predictions and labels of single tokens, in a script that never drops the positions
        marked -100.

    Why it hurts
        Padding and pieces of words count as wrong answers: the score is far too low, and lower the more is padded.

    How to fix it
        ``keep = labels != -100`` and the score of ``predictions[keep]`` and ``labels[keep]``.

    When to ignore it
        When rows are not padded and every token has a label.

    Threshold
        None.

    Sources
        The token classification example of transformers.
    """

    code = "EVL020"
    name = "ignored-labels-scored"
    title = "The metric counts labels that the loss ignores"
    severity = Severity.WARNING
    stage = Stage.EVAL
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "token labels",
            "c = DataCollatorForTokenClassification(tok)\ndef compute_metrics(p):\n"
            "    pred = p.predictions.argmax(-1)\n"
            "    return accuracy_score(p.label_ids.flatten(), pred.flatten())\n",
        ),
    )
    good = (
        script(
            "dropped",
            "c = DataCollatorForTokenClassification(tok)\ndef compute_metrics(p):\n"
            "    pred = p.predictions.argmax(-1)\n    keep = p.label_ids != -100\n"
            "    return accuracy_score(p.label_ids[keep].flatten(), pred[keep].flatten())\n",
        ),
        script(
            "one label a row",
            "m = AutoModelForSequenceClassification.from_pretrained('x')\ndef compute_metrics(p):\n"
            "    return accuracy_score(p.label_ids.flatten(), p.predictions.argmax(-1).flatten())\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first such score; the kind of model may stand in another file."""
        if not any(_by_token(code) for code in run.code):
            return
        for code in run.code:
            if any(DROPS.search(text) for text in texts(code)):
                continue
            for call in code.calls:
                text = call_text(call)
                if SCORES.match(last_part(call.name)) and FLAT.search(text) and LABELS.search(text):
                    message = "a score counts every position, those that the loss ignores too"
                    yield self.finding(
                        message,
                        evidence=[seen(call)],
                        clues=clues(message, metric_decoding=5.0),
                        fix=Fix(summary="Drop positions whose label is -100 before the score."),
                    )
                    return


def _by_token(code: Code) -> bool:
    return any(part in BY_TOKEN for call in code.calls for part in call.name.split("."))
