"""LAB007 labels-shifted-wrongly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.configuration._excused import excused
from holter.checks.labels._moved_rows import in_place, listed_one_on
from holter.checks.labels._shifted_again import (
    OLD_SHIFT,
    compared_apart,
    given_to_shifting_loss,
    handed_over_moved,
    inputs_and_loss,
    told,
)
from holter.checks.look import calls, comments, is_off, known, seen, written
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Expression, Run
from holter.stages import Stage

SHIFTED = regex(r"\[\s*(?:\.\.\.|:)\s*,\s*1\s*:\s*\]")
CUT = regex(r"\[\s*(?:\.\.\.|:)\s*,\s*:\s*-1\s*\]")
NOTED = regex(
    r"(without|no|not|missing|never).{0,20}shift|shift\w*.{0,10}(twice|two times|again)|double shift|not shifted"
)
UNSHIFTED = regex(r"(?:\w+\.)?(?:labels?|targets?|tgt\w*|y)(?:\['input_ids'\])?(?:\.clone\(\)|\.copy\(\)|\[:\])?$")
ONE_ON = regex(r"\[(?:(?:\.\.\.|:)\s*,\s*)*1\s*:\s*\]")
"""A slice that leaves the first token out: ``x[1:]``, ``x[:, 1:]``, ``x[..., 1:]``."""

TARGETS = regex(r"label|target|tgt")
PUT_BEFORE = regex(rf"\+\s*\w+(?:\[[^\[\]]*\])*{ONE_ON.pattern}")
"""``[-100] + ids[1:]``: the first item is replaced, and nothing moves."""

IN_A_LOSS = regex(
    r"cross_entropy|log_softmax|gather$|logps?$|log_?probs|selective_log|nll|kl_div|criterion|loss_f", re.I
)
"""Calls of a function that computes a loss or log-probabilities: what is shifted there is shifted once."""

ALIGNED = regex(r"\balready\b|\bso (?:that )?(?:\w+ ){0,2}(?:does not|doesn't|no) shift|shift_labels")

MEASURED = ("labels_shifted_twice", "decoder_inputs_equal_labels", "labels_equal_next_token", "decoder_input_shifted")


class LabelsShiftedWrongly(Check):
    """What it looks for
        Decoder inputs and labels that are shifted twice or not at all: ``labels=ids[:, 1:]`` for a model that shifts
        by itself, or decoder inputs that are the labels.

    Why it hurts
        Without a shift the model copies its input: the loss falls to nothing and it generates nothing of use. With two
        it learns to predict the token after next.

    How to fix it
        Pass ``labels`` alone; models of transformers shift by themselves. With inputs made by hand, start them with
        ``decoder_start_token_id`` and leave the last label out.

    When to ignore it
        With a loss of your own over logits that the model gave without labels.

    Threshold
        None.

    Sources
        The documentation of ``labels`` in transformers' language and sequence-to-sequence models.
    """

    code = "LAB007"
    name = "labels-shifted-wrongly"
    title = "Labels are shifted twice or not at all"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(any_of=(("code",), ("facts",), *((name,) for name in MEASURED)))
    bad = (
        case("twice", files={"a.py": "loss = model(input_ids=x[:, :-1], labels=x[:, 1:]).loss\n"}),
        script(
            "twice, by a variable",
            "labels = x[:, 1:].contiguous()\nloss = model(input_ids=x[:, :-1], labels=labels).loss\n",
        ),
        case(
            "twice, by the rows",
            config={"model_name_or_path": "gpt2"},
            files={"a.py": "def row(i):\n    return {'input_ids': chunk[:-1], 'labels': chunk[1:]}\n"},
        ),
        case("not at all", files={"a.py": "out = model(input_ids=x, decoder_input_ids=y, labels=y)\n"}),
        script(
            "in the data and in the loss", "labels = ids[1:] + [-100]\nshift_labels = labels[..., 1:].contiguous()\n"
        ),
        script(
            "by a helper and in the loss",
            "d = shift_tokens_right(labels, 0, 2)\nloss = ForCausalLMLoss(logits, labels)\n",
        ),
        script(
            "by a helper, and in the loss beside it",
            "d = shift_tokens_right(labels, 0, 2)\nloss = self.loss_function(logits=z, labels=labels)\n"
            "shift_labels = labels[..., 1:].contiguous()\n",
        ),
        script("targets, cut twice", "targets = t[:, 1:]\nl = F.cross_entropy(z[:, :-1].mT, targets[:, 1:])\n"),
        script(
            "moved, then given to the model's loss",
            "shift_labels = labels[..., 1:].contiguous()\n"
            "loss = self.loss_function(logits[..., :-1, :], shift_labels.view(-1), vocab_size=v)\n",
        ),
        case(
            "decoder inputs and the model's loss",
            config={"architectures": "NewForConditionalGeneration"},
            files={
                "a.py": "d = shift_tokens_right(labels, 0, 2)\n"
                "loss = self.loss_function(logits=z, labels=labels, vocab_size=v)\n"
            },
        ),
        case(
            "compared one place apart",
            config={"architectures": "EncoderDecoderModel"},
            files={
                "a.py": "labels = batch['labels'][:, 1:]\npreds = out.logits.argmax(-1)[:, :-1]\nok = labels == preds\n"
            },
        ),
        case("in place", files={"a.py": "labels[:, :-1] = x[:, 1:]\nout = model(input_ids=x, labels=labels)\n"}),
        case(
            "listed",
            config={"architectures": "GPT2LMHeadModel"},
            facts={"input_ids": [5, 6, 7, 8], "labels": [6, 7, 8, -100]},
        ),
        case("measured", facts={"decoder_inputs_equal_labels": True}),
    )
    good = (
        case("in the loss alone", files={"a.py": "labels = ids\nshift_labels = labels[..., 1:].contiguous()\n"}),
        case(
            "listed alike",
            config={"architectures": "GPT2LMHeadModel"},
            facts={"input_ids": [5, 6, 7, 8], "labels": [5, 6, 7, 8]},
        ),
        script(
            "moved, and told so",
            "shift_labels = labels[..., 1:].contiguous()\n"
            "loss = self.loss_function(logits, None, vocab_size=v, shift_labels=shift_labels)\n",
        ),
        script("the model's loss alone", "loss = self.loss_function(logits=logits, labels=labels, vocab_size=v)\n"),
        case(
            "compared one place apart, in a causal model",
            config={"architectures": "LlamaForCausalLM"},
            files={
                "a.py": "labels = batch['labels'][:, 1:]\npreds = out.logits.argmax(-1)[:, :-1]\nok = labels == preds\n"
            },
        ),
        case("a reason", files={"a.py": "# labels are not shifted here because the model shifts them\nf(x)\n"}),
        case(
            "rows for a loss of one's own",
            config={"model_name_or_path": "gpt2"},
            files={
                "a.py": "def row(i):\n    return {'input_ids': chunk[:-1], 'labels': chunk[1:]}\n"
                "loss = F.cross_entropy(z.view(-1, v), y.view(-1))\n"
            },
        ),
        case("left to the model", files={"a.py": "loss = model(input_ids=x, labels=x).loss\n"}),
        script("by hand", "out = model(input_ids=x, decoder_input_ids=shift_tokens_right(y), labels=y)\n"),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Calls first, then what was measured or noted."""
        found = next(_found(run), None)
        if found is None:
            return
        evidence, message, bits = found
        yield self.finding(
            message,
            evidence=[evidence],
            severity=Severity.NOTE if message is OLD_SHIFT else Severity.WARNING,
            clues=clues(message, label_shift_error=bits),
            fix=Fix(summary="Pass labels alone and let the model shift them."),
        )


def _found(run: Run) -> Iterator[tuple[Evidence, str, float]]:
    for code in run.code:
        for call in code.calls:
            yield from _call(call, code)
        for assignment in code.assignments:
            value = written(assignment.value)
            if assignment.target.endswith("decoder_input_ids") and UNSHIFTED.match(value):
                text = f"{assignment.target} = {value}"
                yield (
                    Evidence(text=text, source=assignment.source),
                    "decoder inputs are the labels, without a shift",
                    6.0,
                )
    yield from _shifted_in_two_places(run)
    yield from inputs_and_loss(run)
    yield from given_to_shifting_loss(run)
    yield from compared_apart(run)
    yield from told(run)
    yield from handed_over_moved(run)
    for name in MEASURED:
        known_fact = known(run, name)
        if known_fact is not None and is_off(known_fact.plain) is (name == "decoder_input_shifted"):
            yield known_fact.evidence, f"{name.replace('_', ' ')} is {written(known_fact.plain)}", 7.0
    yield from in_place(run)
    listed = listed_one_on(run)
    if listed is not None:
        yield listed, "listed labels are the ids one place on, for a model that shifts them itself", 5.5
    for code, comment in comments(run):
        if (
            NOTED.search(comment)
            and not excused(comment)
            and not ALIGNED.search(comment)
            and ("decoder" in comment or "label" in comment)
        ):
            yield Evidence(text=comment, source=code.source), "a comment says that the shift is missing", 6.0


def _shifted_in_two_places(run: Run) -> Iterator[tuple[Evidence, str, float]]:
    """Labels made one place shorter in the data, and shifted again where the loss is computed."""
    shifts = [
        (assignment, written(assignment.value))
        for code in run.code
        for assignment in code.assignments
        if (TARGETS.search(assignment.target) or assignment.target in ("Y", "y")) and _one_on(written(assignment.value))
    ]
    yield from _cut_again(run, [assignment for assignment, _ in shifts])
    again = [pair for pair in shifts if TARGETS.search(pair[1]) and "shift" in pair[0].target]
    measured = {
        (code.source.file, c.scope) for code in run.code for c in code.calls if c.scope and IN_A_LOSS.search(c.name)
    }
    first = [
        pair
        for pair in shifts
        if pair not in again and "shift" not in pair[0].target and (pair[0].source.file, pair[0].scope) not in measured
    ]
    if again and first:
        assignment, value = first[0]
        text = f"{assignment.target} = {value}; {again[0][0].target} = {again[0][1]}"
        yield Evidence(text=text, source=assignment.source), "labels are shifted in the data and again in the loss", 5.5


def _one_on(text: str) -> bool:
    """Whether a value as a whole is moved: no first item is put before it, and it is no choice of several."""
    return ONE_ON.search(text) is not None and not PUT_BEFORE.search(text) and " if " not in text


def _cut_again(run: Run, shifts: list[Assignment]) -> Iterator[tuple[Evidence, str, float]]:
    """Targets that were made one place shorter, given to the loss one place shorter again."""
    for shifted in shifts:
        again = regex(rf"\b{re.escape(shifted.target)}{ONE_ON.pattern}")
        for call in calls(run, "cross_entropy", "CrossEntropyLoss", "criterion", "loss_fn", "loss_fct", "nll_loss"):
            if any(again.search(written(argument)) for argument in (*call.args, *call.kwargs.values())):
                yield seen(call), "labels are shifted in the data and again in the loss", 5.5


def _call(call: Call, code: Code) -> Iterator[tuple[Evidence, str, float]]:
    labels, inputs = call.kwargs.get("labels"), call.kwargs.get("input_ids", next(iter(call.args), None))
    decoder = call.kwargs.get("decoder_input_ids")
    if not isinstance(labels, Expression):
        return
    rolled = re.search(r"roll\(.*-1", _meaning(labels, call, code)) is not None
    if rolled and decoder is None and inputs is not None:
        yield seen(call), "labels are shifted by hand for a model that shifts them itself", 5.0
    cut = isinstance(inputs, Expression) and CUT.search(_meaning(inputs, call, code)) is not None
    if cut and decoder is None and SHIFTED.search(_meaning(labels, call, code)):
        yield seen(call), "labels are shifted by hand for a model that shifts them itself", 5.0
    kept = _meaning(labels, call, code)
    same = isinstance(decoder, Expression) and CUT.search(kept) and _bare(_meaning(decoder, call, code)) == _bare(kept)
    if isinstance(decoder, Expression) and (labels.text == decoder.text or same):
        yield seen(call), "decoder inputs and labels are the same tokens, without a shift", 6.0


def _bare(text: str) -> str:
    """An expression without the calls that leave its values as they are."""
    return re.sub(r"\.(?:contiguous|clone|detach|long)\(\)", "", text)


def _meaning(name: Expression, call: Call, code: Code) -> str:
    """The text of an argument, or of what was last assigned to it before the call."""
    earlier = [a for a in code.assignments if a.target == name.text and a.order <= call.order and a.scope == call.scope]
    return written(earlier[-1].value) if earlier else name.text
