"""OPT091 default-rate-for-pretrained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, is_off, seen, written
from holter.checks.optimisation.rate_above_practice import DECODERS, ENCODERS, SEQ2SEQS
from holter.checks.script import last_part, texts
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

ADAMS = regex(r"^(?:adam|adamw|nadam|adamax|rmsprop)$", re.I)
NO_MODEL = regex(r"token|config|process|extract|metric|dataset", re.I)
PART = regex(r"classifier|head|\bfc\b|score|filter\(|requires_grad|lora|adapter|proj", re.I)
HELD = regex(r"freez|no_grad|stop_gradient|get_peft_model|eval\(\)", re.I)
"""Parts that are new, and signs that the pretrained weights are not trained."""


class DefaultRateForPretrained(Check):
    """What it looks for
        Adam without a rate, or ``optimizer="adam"``, for all weights of a pretrained language model.

    Why it hurts
        The default of PyTorch and Keras is 1e-3, twenty to fifty times what such models are fine-tuned with: the first
        updates wipe out what was learnt, and the loss stays at that of guessing.

    How to fix it
        ``Adam(learning_rate=2e-5)``, with a warmup.

    When to ignore it
        When only new layers are trained.

    Threshold
        No rate is given.

    Sources
        The documentation of Adam in PyTorch and Keras; Devlin et al. 2019, appendix A.3 (2e-5 to 5e-5).
    """

    code = "OPT091"
    name = "default-rate-for-pretrained"
    title = "A pretrained model is trained with Adam's default rate"
    severity = Severity.WARNING
    stage = Stage.UPDATE
    needs = Needs(any_of=(("code",),))
    bad = (
        case("Keras", files={"a.py": "b = TFBertModel.from_pretrained('bert-base')\nm.compile(optimizer='adam')\n"}),
        case("PyTorch", files={"a.py": "m = AutoModel.from_pretrained('roberta-base')\nopt = Adam(m.parameters())\n"}),
    )
    good = (
        script("a rate", "m = AutoModel.from_pretrained('roberta-base')\nopt = Adam(m.parameters(), 2e-5)\n"),
        script("frozen", "b = TFBertModel.from_pretrained('bert')\nb.trainable = False\nm.compile(optimizer='adam')\n"),
        case("a small network", files={"a.py": "m.add(Dense(9))\nm.compile(optimizer='adam', loss='mse')\n"}),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first of all files."""
        found = next((each for code in run.code for each in _bare(code)), None)
        if found is not None:
            message = "a pretrained model is trained with the default rate of Adam, 1e-3"
            yield self.finding(
                message,
                evidence=found,
                clues=clues(message, lr_too_high=6.5),
                fix=Fix(summary="Give a rate of 1e-5 to 5e-5, with a warmup."),
            )


def _bare(code: Code) -> Iterator[list[Evidence]]:
    held = any(a.target.endswith(("requires_grad", "trainable")) and is_off(a.value) for a in code.assignments)
    if held or any(HELD.search(text) for text in (*texts(code), *(f"{c.name}()" for c in code.calls))):
        return
    made = [c for c in code.named("from_pretrained") if not NO_MODEL.search(c.name) and _of_text(c)]
    for call in code.calls:
        model = next((c for c in made if c.order < call.order), None)
        if model is not None and _without_rate(call):
            yield [seen(model), seen(call)]


def _of_text(call: Call) -> bool:
    name = call_text(call).lower()
    return any(kind.search(name) for kind in (ENCODERS, DECODERS, SEQ2SEQS))


def _without_rate(call: Call) -> bool:
    if last_part(call.name) == "compile":
        return ADAMS.match(written(call.kwargs.get("optimizer", ""))) is not None
    if "keras" in call.name or "optimizers." in call.name:
        return ADAMS.match(last_part(call.name)) is not None and not call.args and "learning_rate" not in call.kwargs
    given = written(call.args[0]) if call.args else written(call.kwargs.get("params", ""))
    whole = given.endswith("parameters()") and not PART.search(given)
    return ADAMS.match(last_part(call.name)) is not None and whole and len(call.args) < 2 and "lr" not in call.kwargs
