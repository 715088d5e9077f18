"""TOK002 pad-is-eos."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.context import head, task_words
from holter.checks.look import Known, calls, is_on, known, plain, seen, switched_on, written
from holter.checks.messages import holds
from holter.checks.symptoms import number
from holter.checks.tokens._endless import without_end
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Expression, Run
from holter.stages import Stage

NEVER_STOPS = (
    "never stops",
    "does not stop",
    "doesn't stop",
    "not stop generating",
    "keeps generating",
    "until max_new_tokens",
    "until max_length",
    "never generates eos",
    "does not generate eos",
    "no eos",
    "endless",
    "repeats itself",
    "generates until",
    "won't stop",
    "never ends",
    "non-stop",
    "not stopping",
    "max_new_tokens",
    "continuously generat",
    "never produces",
    "never emits",
    "rarely generates",
    "does not end",
    "doesn't end",
    "eos is never",
    "eos never",
    "eos masked",
    "stop token",
    "eos labels",
)
MASKING = ("DataCollatorForLanguageModeling", "DataCollatorForCompletionOnlyLM")
CLASSIFIES = regex(r"classif|seq_cls|regression|reward|embedding|retriev")
"""Tasks whose labels are no tokens: masking the end token takes nothing from them."""

AT_EOS = regex(
    r"labels?\w*[._](?:eos|end|stop|eot|im_end)|(?:^|[._])(?:eos|eot|im_end|end_token|stop_token)\w*[._]labels?", re.I
)
"""Names of the label that the end token got."""
EOS = regex(r"\beos_token(_id)?\b")

BY_ID = regex(
    r"==\s*[\w.]*(?:pad_token_id|pad_id|pad_idx|pad_token)\b|\b[\w.]*(?:pad_token_id|pad_id|pad_idx)\s*==", re.I
)
HIDDEN = regex(r"label|target|tgt|loss_mask|\by\b", re.I)
"""Labels, or a mask of the loss, that are hidden where an id is that of padding."""


class PadIsEos(Check):
    """What it looks for
        Padding token and end token with one id, beside a collator that masks padding by its id, or beside a note that
        generation does not end.

    Why it hurts
        Where labels are masked by comparing ids with the pad id, the end token is masked too, so it is never learnt:
        the model does not stop.

    How to fix it
        A padding token of its own (``<pad>``, or a reserved token), or mask labels by position, not by id.

    When to ignore it
        Where labels are masked by the attention mask, or packed, or are no tokens, as in classification. On its own
        this is a note.

    Threshold
        None.

    Sources
        DataCollatorForLanguageModeling in transformers; public reports of models that never stop.
    """

    code = "TOK002"
    name = "pad-is-eos"
    title = "Padding and end token are the same"
    severity = Severity.NOTE
    stage = Stage.COLLATE
    needs = Needs(any_of=(("code",), ("pad_token_id",), ("tokenizer.pad_token",), ("tokenizer.pad_token_id",)))
    bad = (
        case("same id", config={"pad_token_id": 2, "eos_token_id": 2}),
        case(
            "answers run on",
            config={"pad_token_id": 2, "eos_token_id": 2},
            facts={"observed": "it continues up to the maximum length"},
        ),
        case(
            "as long as allowed",
            config={"pad_token_id": 2, "eos_token_id": 2, "max_new_tokens": 300},
            facts={"generated_length": 300},
        ),
        case(
            "a collator by its name",
            config={"pad_token_id": 2, "eos_token_id": 2, "data_collator": "DataCollatorForCompletionOnlyLM"},
        ),
        script("hidden by its id", "tok.pad_token = tok.eos_token\nlabels[labels == tok.pad_token_id] = -100\n"),
        script(
            "hidden in a batch",
            "tok.pad_token = tok.eos_token\nbatch['labels'][batch['labels'] == tok.pad_token_id] = -100\n",
        ),
        script(
            "hidden in one expression",
            "tok.pad_token = tok.eos_token\nlabels = [-100 if t == tok.pad_token_id else t for t in ids]\n",
        ),
        script(
            "ignored by its id",
            "tok.pad_token = tok.eos_token\nce = nn.CrossEntropyLoss(ignore_index=tok.pad_token_id)\n",
        ),
        case(
            "listed",
            config={"pad_token_id": 2, "eos_token_id": 2},
            facts={"input_ids": [5, 9, 2, 2], "labels": [5, 9, -100, -100]},
        ),
        case("set in a script", files={"a.py": "tokenizer.pad_token = tokenizer.eos_token\n"}),
    )
    good = (
        case("own id", config={"pad_token_id": 0, "eos_token_id": 2}),
        case("own token", config={"tokenizer.pad_token": "<pad>", "tokenizer.eos_token": "</s>"}),
    )
    not_enough = (case("not said", config={"eos_token_id": 2}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """A note alone; an error where generation is said not to end."""
        same = list({evidence.text: evidence for evidence in _same(run)}.values())
        if not same or CLASSIFIES.search(f"{head(run)} {task_words(run)}".lower()):
            return
        unlearnt = next(
            (k for n in run.facts if AT_EOS.search(n) and (k := known(run, n)) and number(k.plain) in (-100, 0)), None
        )
        endless = next((words for words in NEVER_STOPS if holds(run, words)), None) or without_end(run)
        collator = next(iter(calls(run, *MASKING)), None)
        masks = collator is not None and not _masked_words(collator) and not _packs(run)
        named = known(run, "data_collator")
        by_name = named is not None and any(name in written(named.plain) for name in MASKING) and not _packs(run)
        masks = masks or by_name
        hidden = _hidden_by_id(run) or _listed_hidden(run)
        masks = masks or hidden is not None
        same += [named.evidence] if named is not None and by_name else []
        same += [hidden] if hidden is not None else []
        same += [unlearnt.evidence] if unlearnt is not None else []
        endless = endless or (unlearnt.name if unlearnt is not None else None)
        bits = 2.0 + (4.5 if endless else 0.0) + (2.5 if masks else 0.0)
        yield self.finding(
            "padding and end token have one id, so masking padding also masks the end token",
            evidence=[*same, *([seen(collator)] if collator is not None else [])],
            clues=clues("pad and eos share an id", pad_equals_eos=bits),
            severity=Severity.ERROR if endless else Severity.WARNING if masks else Severity.NOTE,
            fix=Fix(summary="Give the tokenizer a padding token of its own and resize the embeddings if it is new."),
        )


def _hidden_by_id(run: Run) -> Evidence | None:
    """``labels[labels == pad_token_id] = -100`` or ``ignore_index=pad_token_id`` in code of one's own."""
    for code in run.code:
        for call in code.calls:
            index = written(call.kwargs.get("ignore_index"))
            if re.search(r"\b(?:pad|eos)_(?:token_)?id\b", index):
                return Evidence(text=f"{call.name}(ignore_index={index})", source=call.source)
        for assignment in code.assignments:
            name, value = assignment.target.removesuffix("[]"), written(assignment.value)
            if HIDDEN.search(name) and BY_ID.search(value) and re.search(r"-100|ignore", value, re.I):
                return Evidence(text=f"{name} = {value}"[:160], source=assignment.source)
            ignored = number(assignment.value) in (-100.0, 0.0) or "ignore" in written(assignment.value).lower()
            if (
                HIDDEN.search(f"{name} {assignment.place}")
                and BY_ID.search(assignment.place)
                and ignored
                and "attention" not in name
            ):
                shown = f"{name}[{assignment.place}] = {written(assignment.value)}"
                return Evidence(text=shown, source=assignment.source)
    return None


def _listed_hidden(run: Run) -> Evidence | None:
    """Labels and ids side by side, in which every end token is ignored, the first one too."""
    ids, labels = known(run, "input_ids", "input_ids[0]"), known(run, "labels", "labels[0]")
    end = number(plain(run, "eos_token_id", "tokenizer.eos_token_id"))
    if (
        ids is None
        or labels is None
        or end is None
        or not isinstance(ids.plain, list)
        or not isinstance(labels.plain, list)
    ):
        return None
    if len(ids.plain) != len(labels.plain):
        return None
    at_end = [number(label) for token, label in zip(ids.plain, labels.plain, strict=True) if number(token) == end]
    learnt = any(number(label) not in (-100.0, None) for label in labels.plain)
    return labels.evidence if at_end and learnt and set(at_end) == {-100.0} else None


def _masked_words(call: object) -> bool:
    return is_on(getattr(call, "kwargs", {}).get("mlm", False))


def _packs(run: Run) -> bool:
    """Blocks of packed text hold no padding, so nothing is masked."""
    return switched_on(run, "packing") is not None or any(
        True for _ in calls(run, "group_texts", "ConstantLengthDataset")
    )


def _same(run: Run) -> Iterable[Evidence]:
    for pad_name, eos_name in (
        ("pad_token_id", "eos_token_id"),
        ("tokenizer.pad_token_id", "tokenizer.eos_token_id"),
        ("tokenizer.pad_token", "tokenizer.eos_token"),
        ("generation.pad_token_id", "generation.eos_token_id"),
    ):
        pad, eos = known(run, pad_name), known(run, eos_name)
        if pad is not None and pad.plain is not None and (_is_eos(pad) or (eos is not None and eos.plain == pad.plain)):
            yield pad.evidence
    for code in run.code:
        for assignment in code.assignments:
            value = written(assignment.value) if isinstance(assignment.value, Expression) else ""
            if re.search(r"\bpad_token(_id)?$", assignment.target) and EOS.search(value):
                yield Evidence(text=f"{assignment.target} = {value}", source=assignment.source)
    if is_on(plain(run, "pad_equals_eos")):
        yield Evidence(text="pad_equals_eos is true")


def _is_eos(pad: Known) -> bool:
    return isinstance(pad.plain, str) and EOS.search(pad.plain) is not None
