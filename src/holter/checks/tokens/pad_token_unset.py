"""TOK014 pad-token-never-set."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.context import head, model_names, task_words
from holter.checks.look import call_text, known, seen, switched_on, written
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

WITHOUT = regex(r"gpt2|gpt-2|gpt_?neo|gpt-?j|llama|mistral|mixtral|opengpt|pythia|falcon|dialogpt|codegen", re.I)
"""Checkpoints whose tokenizer comes without a padding token."""

WITH = regex(r"unsloth|pad|chat_template|llama-?3\.[2-9]", re.I)
"""Derived checkpoints to which one was added."""

WITHOUT_END = regex(r"openai-gpt|openai_gpt|(?:^|/)ctrl$", re.I)
"""Checkpoints whose tokenizer has no end token either."""

HEAD_PADS = regex(
    r"(?:Auto\w*|GPT\w*|Llama|Mistral|Mixtral|Qwen\d?|Gemma\d?|Phi\d?|OPT|Falcon)(?:Model)?ForSequenceClassification"
)
"""Heads that read the last token that is no padding."""

CLASSIFIES = regex(r"classif|reward|scor|regress|rank|seq_cls", re.I)
OF_MODEL = ("model.config.pad_token_id", "model_pad_token_id", "config_pad_token_id", "config.pad_token_id")
OF_TOKENIZER = ("tokenizer.pad_token_id", "tokenizer.pad_token", "tokenizer_pad_token_id", "tokenizer_pad_token")

BATCHES = ("per_device_train_batch_size", "per_device_eval_batch_size", "batch_size", "train_batch_size")
PADS = ("True", "max_length", "longest")


class PadTokenNeverSet(Check):
    """What it looks for
        A tokenizer of a family without a padding token, padding asked for, and no line that sets one; one that is set
        to an end token that the tokenizer lacks; a classification head whose model does not know the id.

    Why it hurts
        Padding fails with an error, or a classifier over a batch does not know where its rows end.

    How to fix it
        Set ``tokenizer.pad_token`` and ``model.config.pad_token_id`` to the same token.

    When to ignore it
        When the checkpoint in use had one added.

    Threshold
        None.

    Sources
        The special tokens of the published checkpoints; the classification heads of transformers, which refuse
        batches without ``config.pad_token_id``.
    """

    code = "TOK014"
    name = "pad-token-never-set"
    title = "A tokenizer without a padding token is asked to pad"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(any_of=(("code",), *((name,) for name in (*OF_MODEL, *OF_TOKENIZER))))
    bad = (
        case(
            "a model that was not told",
            config={"task": "reward"},
            facts={"config.pad_token_id": None, "tokenizer.pad_token_id": 9},
        ),
        case("no token, and padding", facts={"tokenizer.pad_token": None, "padding": True}),
        case(
            "several rows for a classifier",
            config={"task": "sequence classification", "per_device_train_batch_size": 4},
            facts={"model.config.pad_token_id": None},
        ),
        script(
            "a head that was not told",
            "m = AutoModelForSequenceClassification.from_pretrained('gpt2')\n"
            "tok.pad_token = tok.eos_token\nout = m(**tok(texts, padding=True))\n",
        ),
        case(
            "an end that is not there",
            config={"model_name_or_path": "openai-gpt"},
            files={"a.py": "if tok.pad_token is None:\n    tok.pad_token = tok.eos_token\n"},
        ),
        case("padding", files={"a.py": "t = AutoTokenizer.from_pretrained('gpt2')\nx = t(texts, padding=True)\n"}),
    )
    good = (
        script(
            "a head that was told",
            "m = AutoModelForSequenceClassification.from_pretrained('gpt2')\n"
            "tok.pad_token = tok.eos_token\nm.config.pad_token_id = tok.pad_token_id\n"
            "out = m(**tok(texts, padding=True))\n",
        ),
        case(
            "an end that is there",
            config={"model_name_or_path": "gpt2"},
            files={"a.py": "if tok.pad_token is None:\n    tok.pad_token = tok.eos_token\n"},
        ),
        case(
            "one row at a time",
            config={"task": "sequence classification", "per_device_train_batch_size": 1},
            facts={"model.config.pad_token_id": None},
        ),
        case("no head", config={"task": "sft"}, facts={"config.pad_token_id": None, "tokenizer.pad_token_id": 9}),
        script("set", "t = AutoTokenizer.from_pretrained('gpt2')\nt.pad_token = t.eos_token\nx = t(a, padding=True)\n"),
        case("no padding", files={"a.py": "t = AutoTokenizer.from_pretrained('gpt2')\nx = t(text)\n"}),
        case("has one", files={"a.py": "t = AutoTokenizer.from_pretrained('bert-base')\nx = t(a, padding=True)\n"}),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """What the model knows, what an end token is worth, then the first file that pads without one."""
        yield from self._unknown(run)
        yield from self._endless(run)
        if any(_sets(code) for code in run.code) or "pad_token" in run.config:
            return
        for code in run.code:
            loaded = next((c for c in code.named("from_pretrained") if "okenizer" in c.name and _without(c)), None)
            pads = next((c for c in code.calls if written(c.kwargs.get("padding")) in PADS), None)
            if loaded is not None and pads is not None:
                yield self.finding(
                    "the tokenizer has no padding token, is asked to pad, and none is set",
                    evidence=[seen(loaded), seen(pads)],
                    clues=clues("padding is asked of a tokenizer without a padding token", pad_token_missing=5.5),
                    fix=Fix(summary="Set tokenizer.pad_token and model.config.pad_token_id to the same token."),
                )
                return

    def _unknown(self, run: Run) -> Iterable[Finding]:
        """A classification head whose model has no padding id, though the tokenizer has a padding token."""
        model, tokenizer = known(run, *OF_MODEL), known(run, *OF_TOKENIZER)
        words = f"{head(run)} {task_words(run)}"
        several = next((k for name in BATCHES if (k := known(run, name)) and (number(k.plain) or 0.0) > 1.0), None)
        pads = switched_on(run, "padding", "pad_to_max_length") or several
        if (
            tokenizer is not None
            and _unset(tokenizer.plain)
            and pads is not None
            and "pad" not in written(tokenizer.plain)
        ):
            message = "rows are padded, and the tokenizer has no padding token"
            yield self._told(message, [tokenizer.evidence, pads.evidence], 6.0, Severity.WARNING)
            return
        if (
            model is not None
            and tokenizer is None
            and _unset(model.plain)
            and several is not None
            and CLASSIFIES.search(words)
        ):
            message = "a classifier is given several rows at once, and knows no padding id"
            yield self._told(message, [model.evidence, several.evidence], 6.0, Severity.WARNING)
            return
        if model is not None and tokenizer is not None and _unset(model.plain) and not _unset(tokenizer.plain):
            if CLASSIFIES.search(words):
                yield self._told(
                    "the tokenizer has a padding token, and the classifier does not know its id",
                    [model.evidence, tokenizer.evidence],
                    6.0,
                    Severity.WARNING,
                )
            return
        for code in run.code:
            built = next((c for c in code.named("from_pretrained") if HEAD_PADS.search(c.name) and _without(c)), None)
            set_on = next((a for a in code.assignments if SET.search(a.target)), None)
            if built is None or set_on is None or _tells_model(run):
                continue
            aligned = any(True for _ in code.named("Trainer", "RewardTrainer"))
            yield self._told(
                "the tokenizer gets a padding token, and the classifier is not told its id",
                [seen(built), Evidence(text=f"{set_on.target} = {written(set_on.value)}", source=set_on.source)],
                3.0 if aligned else 6.0,
                Severity.NOTE if aligned else Severity.WARNING,
            )
            return

    def _endless(self, run: Run) -> Iterable[Finding]:
        """Padding set to the end token of a tokenizer that has none."""
        names = model_names(run)
        lacks = any(WITHOUT_END.search(name) for name in names)
        listed = known(run, "unk_token") is not None and "name_or_path" in run.facts
        lacks = lacks or (listed and not any("eos" in name for name in (*run.facts, *run.config) if "pad" not in name))
        for code in run.code if lacks else ():
            for assignment in code.assignments:
                if SET.search(assignment.target) and written(assignment.value).endswith("eos_token"):
                    shown = f"{assignment.target} = {written(assignment.value)}"
                    message = "padding is set to the end token, and this tokenizer has no end token"
                    evidence = [Evidence(text=shown, source=assignment.source)]
                    yield self._told(message, evidence, 7.0, Severity.WARNING)
                    return

    def _told(self, message: str, evidence: list[Evidence], bits: float, severity: Severity) -> Finding:
        return self.finding(
            message,
            evidence=evidence,
            clues=clues(message, pad_token_missing=bits),
            severity=severity,
            fix=Fix(summary="Add a padding token and set model.config.pad_token_id to its id."),
        )


SET = regex(r"(?:^|\.)(?:\w*tok\w*|processing_class)\.pad_token$", re.I)
"""The padding token of a tokenizer."""


def _unset(value: object) -> bool:
    return value is None or (
        isinstance(value, str) and value.strip().lower() in ("none", "null", "", "missing", "unset", "not set")
    )


def _tells_model(run: Run) -> bool:
    """Whether any line gives a padding id to a model or its configuration."""
    for code in run.code:
        given = [a.target.removesuffix("pad_token_id") for a in code.assignments if a.target.endswith("pad_token_id")]
        if any("tok" not in owner.lower() for owner in given):
            return True
        if any("pad_token_id" in call.kwargs and "okenizer" not in call.name for call in code.calls):
            return True
    return "pad_token_id" in run.config


def _without(call: Call) -> bool:
    name = written(call.args[0]) if call.args else written(call.kwargs.get("pretrained_model_name_or_path", ""))
    return WITHOUT.search(name) is not None and WITH.search(name) is None and "pad_token" not in call.kwargs


def _sets(code: Code) -> bool:
    if any("pad_token" in a.target or "special_tokens" in a.target for a in code.assignments):
        return True
    return any("pad_token" in call_text(call) for call in code.calls)
