"""LAB022 next-token-loss-unshifted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.context import model_names, task_words
from holter.checks.labels._shifted_again import ENCODER_DECODERS
from holter.checks.look import is_off, seen, written
from holter.checks.script import last_part, mentions, texts
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Code, Run
from holter.stages import Stage

SHIFTS = regex(r"\[[^\[\]]*\b1:\s*\]|:\s*-1\s*[\],]|shift|roll\(|\+ ?1\]|next_", re.I)
COPIED = regex(r"^(?:\w+\[['\"])?(?:\w+\.)?input_ids(?:['\"]\])?(?:\.clone\(\)|\.copy\(\)|\[:\]|\.detach\(\))*$")
TOLD = regex(r"labels ?= ?(?:\w+\.)?input_ids|labels?:? (?:is |are )?(?:a )?cop(?:y|ies) of (?:the )?(?:input_)?ids")
LOSS = regex(
    r"^(?:cross_entropy|nll_loss|loss_fn|loss_fct|loss_func\w*|criterion|ce_loss|ce|lm_loss"
    r"|(?:sparse_)?softmax_cross_entropy\w*|sparse_categorical_crossentropy)$",
    re.I,
)
FLAT_LOGITS = regex(r"logits|lm_out|\boutputs?\b", re.I)
LABELS = regex(
    r"^(?:\w+\.|\w+\[['\"])?(?:labels?|targets?|input_ids|ids|tokens|token_ids|idx|xb?|seqs?|batch|data)\b", re.I
)
IDS = regex(r"^(?:input_|token_)?ids$|^tokens?$", re.I)
ANY_IDS = regex(r"^(?:idx|xb?|seqs?|batch|data)$")
REBUILDS = regex(r"diffusion|denois|auto-?encod|\bvae\b|\bmlm\b|masked", re.I)
"""Models and tasks whose answer at a place is the token of that place."""

FLAT = regex(r"\.(?:view|reshape|flatten|contiguous|transpose|permute)\(")


class NextTokenLossUnshifted(Check):
    """What it looks for
        Labels that are a copy of ``input_ids`` for a causal model, and a cross entropy written by hand over all
        positions of logits and labels, with no shift between them anywhere in the file.

    Why it hurts
        Position t has token t as its input and as its label. The model learns to copy: the loss falls to nothing, and
        what it generates repeats the last token.

    How to fix it
        ``logits[:, :-1]`` against ``labels[:, 1:]``, or pass ``labels`` to a model of transformers and take its loss.

    When to ignore it
        When another file shifts the labels, or the model is bidirectional and tokens are masked.

    Threshold
        None.

    Sources
        The documentation of labels in transformers' causal models.
    """

    code = "LAB022"
    name = "next-token-loss-unshifted"
    title = "A next-token loss compares each position with itself"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "copied",
            "labels = batch['input_ids'].clone()\nlogits = model(**batch).logits\n"
            "loss = F.cross_entropy(logits.view(-1, v), labels.view(-1))\n",
        ),
        script(
            "by the collator",
            "c = DataCollatorForLanguageModeling(tok, mlm=False)\nloss_fct = CrossEntropyLoss()\n"
            "loss = loss_fct(logits.view(-1, v), labels.view(-1))\n",
        ),
        script(
            "the ids themselves", "loss = F.cross_entropy(out.logits.reshape(-1, v), batch.input_ids.reshape(-1))\n"
        ),
        script(
            "in JAX",
            "logits = model(batch['input_ids'], params=params)[0]\n"
            "loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch['input_ids']).mean()\n",
        ),
        script(
            "what went in", "logits = model(ids).logits\nloss = F.cross_entropy(logits.view(-1, v), ids.view(-1))\n"
        ),
    )
    good = (
        case(
            "a text diffusion model",
            config={"model_name_or_path": "Diffusion-LM"},
            files={
                "a.py": "nll = loss_fct(logits.view(-1, logits.size(-1)), input_ids.view(-1)).view(input_ids.shape)\n"
            },
        ),
        script("an input that is no token", "z = model(x).logits\nloss = F.cross_entropy(z.view(-1, v), y.view(-1))\n"),
        case(
            "an encoder and a decoder",
            config={"model_name_or_path": "facebook/bart-base"},
            files={"a.py": "loss = F.cross_entropy(out.logits.reshape(-1, v), batch.input_ids.reshape(-1))\n"},
        ),
        script(
            "shifted",
            "labels = batch['input_ids'].clone()\nlogits = model(**batch).logits[:, :-1]\n"
            "loss = F.cross_entropy(logits.reshape(-1, v), labels[:, 1:].reshape(-1))\n",
        ),
        script(
            "masked words",
            "labels = ids_to_guess(batch)\nloss = F.cross_entropy(logits.view(-1, v), labels.view(-1))\n",
        ),
        script(
            "for a mask",
            "c = DataCollatorForLanguageModeling(tok, mlm=True)\n"
            "loss = F.cross_entropy(logits.view(-1, v), labels.view(-1))\n",
        ),
        script(
            "words hidden in a copy",
            "labels = input_ids.clone()\ninput_ids[hidden] = tok.mask_token_id\nlabels[~hidden] = -100\n"
            "loss = F.cross_entropy(logits.view(-1, v), labels.view(-1))\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first file with a copy, a loss over all positions and no shift."""
        if any(REBUILDS.search(text) for text in (*model_names(run), task_words(run))):
            return
        if any(ENCODER_DECODERS.search(name) for name in model_names(run)):
            return  # such a model puts its decoder inputs one place behind the labels
        for code in run.code:
            copied = _copied(code) or _compared_with_input(code)
            if copied is None or _shifts(code):
                continue
            for call in code.calls:
                given = [written(value) for value in (*call.args, *call.kwargs.values())]
                by_token = "_labels" in call.name or "sparse" in call.name
                first, rest = (given, given) if by_token else (given[:1], given[1:])
                flat = any(FLAT_LOGITS.search(text) and (by_token or FLAT.search(text)) for text in first)
                if LOSS.match(last_part(call.name)) and flat and any(LABELS.match(text) for text in rest):
                    message = "the loss compares the output at each token with that token itself"
                    yield self.finding(
                        message,
                        evidence=[copied, seen(call)],
                        clues=clues(message, label_shift_error=6.0),
                        fix=Fix(summary="Compare logits[:, :-1] with labels[:, 1:]."),
                    )
                    return


def _copied(code: Code) -> Evidence | None:
    for call in code.named("DataCollatorForLanguageModeling"):
        if "mlm" in call.kwargs and is_off(call.kwargs["mlm"]):
            return seen(call)
    for assignment in code.assignments:
        name = assignment.target
        if re.search(r"labels?(?:'\])?$|targets?$", name) and COPIED.match(written(assignment.value)):
            return Evidence(text=f"{name} = {written(assignment.value)}", source=assignment.source)
    for call in code.calls:
        if LOSS.match(last_part(call.name)) and any(
            re.match(r"(?:\w+\.)?input_ids\.|\w+\[.input_ids.\]", written(v)) for v in call.args[1:]
        ):
            return seen(call)
    told = next((comment for comment in code.comments if TOLD.search(comment.lower())), None)
    return None if told is None else Evidence(text=told, source=code.source)


def _compared_with_input(code: Code) -> Evidence | None:
    """``logits = model(ids)`` and a loss over those logits and ``ids``."""
    causal = mentions(code, "is_causal", "lm_head", "causal_mask", "triu", "tril", "GPT")
    inputs = {written(c.args[0]): c for c in code.named("model", "forward", "lm", "net", "gpt") if c.args}
    for call in code.calls:
        if LOSS.match(last_part(call.name)) and len(call.args) > 1:
            name = re.match(r"[A-Za-z_]\w*", written(call.args[1]))
            known = name is not None and (IDS.search(name[0]) or (causal and ANY_IDS.match(name[0])))
            if name is not None and name[0] in inputs and known and inputs[name[0]].order < call.order:
                return seen(inputs[name[0]])
    return None


def _shifts(code: Code) -> bool:
    """Whether anything is moved by a place, or tokens are hidden, so that each position may well be compared."""
    said = [*texts(code), *(a.target for a in code.assignments), *(call.name for call in code.calls)]
    hides = any(re.search(r"mask_token|\bmask_tokens|mlm_prob|masked_ind|bidirectional|diffus", text) for text in said)
    return hides or any(SHIFTS.search(text) for text in said)
