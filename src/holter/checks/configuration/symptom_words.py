"""CFG018 described-symptom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.configuration._differentials import SYMPTOMS
from holter.checks.configuration._separating_facts import separating
from holter.checks.configuration._symptom import Symptom
from holter.checks.evaluation._written import bare
from holter.checks.symptoms import COMPLAINTS
from holter.finding import Clue, Evidence, Finding, Severity
from holter.run import Run
from holter.stages import Stage

NAMED = re.compile(
    r"loss|acc(?:uracy)?$|f1|score|grad|output|generation|prediction|logits|inference|training|convergence|metric|bleu|rouge"
)
"""Quantities that people describe in words: ``loss: does not decrease``."""

WORDY = re.compile(r"[a-z]{3,}")
NOT_A_WORD = re.compile(r"^(?:nan|inf|none|true|false|mean|sum|finite)$")
MOST_WORDS = 60
"""A longer text is a report and no note; its clauses belong to several runs."""


class DescribedSymptom(Check):
    """What it looks for
        A symptom that a person described in words: the loss does not fall, the output never stops, every input gets
        the same answer, the model is worse after it was loaded.

    Why it hurts
        Each such symptom has a few usual causes. They are listed with the base rates of public reports, moved by the
        settings that tell them apart (precision, adapters, padding, warmup, clipping, size of the model).

    How to fix it
        Measure what separates the first two causes of the list; the diagnosis says what that is.

    When to ignore it
        When the note describes another run.

    Threshold
        None. Words alone hardly ever settle a cause, so the list seldom names one.

    Sources
        The words and outcomes of public reports, generalised.
    """

    code = "CFG018"
    name = "described-symptom"
    title = "A symptom was described"
    severity = Severity.WARNING
    stage = Stage.LOG
    needs = Needs(any_of=(("facts",), ("loss",), ("train_loss",), ("eval_loss",), ("grad_norm",)))
    bad = (
        case("does not stop", facts={"observed": "the answers run on until the length limit and never stop"}),
        case("stands still", facts={"observed": "loss does not decrease"}, config={"gradient_checkpointing": True}),
        case("behind a number", files={"observed.yaml": "loss: nan  # only for some batches\n"}),
        case("in the place of a number", facts={"loss": "stuck at 2.3"}),
        case("after loading", facts={"result": "accuracy is random after reloading the checkpoint"}),
        case("the batch counts", facts={"symptom": "batched answers differ from those of a single prompt"}),
        case("rising", facts={"note": "training loss rises in the first hundred steps"}, config={"warmup_steps": 0}),
    )
    good = (
        case("stairs", facts={"observed": "training loss drops at every epoch boundary"}),
        case("back to normal", facts={"note": "one spike in the loss, then back to normal"}),
        case("falling", facts={"observed": "loss decreases slowly and accuracy improves"}),
        case("a harmless word", facts={"observed": "loss is finite"}),
    )
    not_enough = (case("no facts", config={"learning_rate": 1e-4}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """One finding a symptom."""
        notes = list(_notes(run))
        for symptom in SYMPTOMS:
            heard = [(text, shown) for text, shown in notes if _is(symptom, text)]
            if heard:
                text = " ".join(text for text, _ in heard)
                yield self.finding(
                    f"somebody describes: {symptom.name}",
                    evidence=[shown for _, shown in heard],
                    clues=[*_usual(symptom), *separating(symptom.name, text, run)],
                )


def _usual(symptom: Symptom) -> Iterator[Clue]:
    yield from clues(f"a usual cause when the {symptom.name}" if " " in symptom.name else symptom.name, **symptom.bits)


def _is(symptom: Symptom, text: str) -> bool:
    if symptom.words.search(text) is None:
        return False
    return symptom.unless is None or symptom.unless.search(text) is None


def _notes(run: Run) -> Iterator[tuple[str, Evidence]]:
    """What people wrote, in lower case, with the name of the quantity in front where there is one."""
    for name, series in run.series.items():
        if bare(series):
            for index, raw in series.raw.items():
                if "#" in raw:
                    text = " ".join(raw.lower().replace("#", " ").split())
                    yield f"{name} {text}", Evidence(text=f"{name}: {raw}", source=series.place(index), value=raw)
    for name, values in run.facts.items():
        plain = name in COMPLAINTS
        if not plain and NAMED.search(name.lower()) is None:
            continue
        for value in values:
            for item in value.value if isinstance(value.value, list) else [value.value]:
                text = " ".join(item.lower().split()) if isinstance(item, str) else ""
                if WORDY.search(text) and not NOT_A_WORD.match(text) and len(text.split()) <= MOST_WORDS:
                    said = text if plain else f"{name.lower().replace('_', ' ')} {text}"
                    yield said, Evidence(text=f"{name}: {item}", source=value.source, value=item)
