"""Labels that were moved by one place and are moved again: by the loss they are given to, or by who compares them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holter.checks.context import model_names
from holter.checks.look import seen, written
from holter.checks.noted import noted
from holter.checks.script import argument, last_part, texts
from holter.finding import Evidence
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Run

ONE_ON = regex(r"\[(?:(?:\.\.\.|:)\s*,\s*)*1\s*:\s*(?:,\s*:\s*)?\]")
"""A slice that leaves the first token out: ``x[1:]``, ``x[:, 1:]``, ``x[..., 1:]``."""

ALL_BUT_LAST = regex(r"\[\s*(?:(?:\.\.\.|:)\s*,\s*)+:\s*-1\s*(?:,\s*:\s*)?\]")
SHIFTING_LOSS = regex(r"^(?:ForCausalLMLoss|causal_lm_loss|CausalLMLoss|fixed_causal_lm_loss)$", re.I)
MODEL_LOSS = regex(r"^self\.loss_function$")
"""The loss of a model of transformers, chosen by the name of its class; those that generate shift inside."""

OTHER_LOSS = regex(r"loss_type|MaskedLM|ForMasked|loss_function\s*=", re.I)
SHIFTERS = ("shift_tokens_right", "_shift_right", "shift_right", "shift_tokens")
CONDITIONAL = regex(r"ForConditionalGeneration|Seq2SeqLM|LMHead|ForCausalLM", re.I)
ENCODER_DECODERS = regex(r"EncoderDecoder|\bm?t5\b|\bm?bart\b|pegasus|marian|whisper|Seq2SeqLM|prophetnet", re.I)
IN_PLACE = regex(r"^(?:\w+\.)*\w*(?:shift|decoder_input)\w*$", re.I)
TARGETS = regex(r"label|target|\btgt|\by\b", re.I)
GUESSED = regex(r"logits|pred|argmax|output", re.I)
ENDS_EARLY = regex(r"\[(?:(?:\.\.\.|:)\s*,\s*)*:\s*-1\s*\]")
CAUSAL = regex(r"gpt-?2|gpt_?neo|llama|mistral|qwen|gemma|phi-?\d|falcon|\bopt\b|pythia|LMHeadModel|ForCausalLM", re.I)
CAUSAL_CLASS = regex(r"(?:ForCausalLM|LMHeadModel)(?:\.from_\w+)?$")
OWN_LOSS = regex(r"cross_entropy|CrossEntropyLoss|nll_loss|criterion|loss_f", re.I)
"""Models that move labels themselves, and losses of one's own, for which rows are moved by hand."""

TWICE_OR_NOT = regex(r"(?:twice|double|two (?:times|places)|2x|again|missing|not (?:done|shifted|at all)|never)\b")
NAME = regex(r"^\(?([A-Za-z_][\w.]*)")

ALL_OF_SLICE = regex(r"\[[^\[\]]*\]$")

BY_HAND = "labels are shifted by hand for a model that shifts them itself"
NEXT_BLOCK = regex(r"\[\s*(\w+) ?\+ ?1 ?: ?(?:\1\b|1\b|\w+ ?\+ ?1\b)")
"""The block of tokens that begins one place after another one."""

OLD_SHIFT = "decoder inputs are shifted by a helper that takes the first token from the end of the target"
"""The two-argument form of BART's helper; what it puts first depends on the version."""

Found = tuple[Evidence, str, float]


def given_to_shifting_loss(run: Run) -> Iterator[Found]:
    """A loss that shifts inside, given labels that are one place shorter, or those that decoder inputs are made of."""
    for code in run.code:
        if any(OTHER_LOSS.search(text) for text in (*texts(code), *(a.target for a in code.assignments))):
            continue
        for call in code.calls:
            if not _shifts_inside(call, code) or "shift_labels" in call.kwargs:
                continue
            labels = written(argument(call, 1, "labels", "targets"))
            if _moved(labels, call, code):
                yield seen(call), "labels are moved by one place, and the loss they are given to moves them again", 7.0
            elif _made_into_inputs(call, code, run):
                yield seen(call), "decoder inputs are shifted, and the loss shifts the labels again", 7.0


def handed_over_moved(run: Run) -> Iterator[Found]:
    """Rows ``{"input_ids": chunk[:-1], "labels": chunk[1:]}``, or ``y = data[i + 1:i + 1 + n]``, for a model that
    moves labels itself."""
    causal = any(CAUSAL.search(name) for name in model_names(run)) or any(
        CAUSAL_CLASS.search(call.name) for code in run.code for call in code.calls
    )
    for code in run.code if causal else ():
        if any(OWN_LOSS.search(last_part(call.name)) for call in code.calls):
            continue
        for assignment in code.assignments:
            row = assignment.value if isinstance(assignment.value, dict) else {}
            ids, labels = ENDS_EARLY.search(written(row.get("input_ids"))), ONE_ON.search(written(row.get("labels")))
            if ids is not None and labels is not None:
                text = f"input_ids: {written(row['input_ids'])}, labels: {written(row['labels'])}"
                yield Evidence(text=text, source=assignment.source), BY_HAND, 6.0
            pair = [written(v) for v in assignment.value] if isinstance(assignment.value, list) else []
            given = any("labels" in c.kwargs and len(c.args) == 1 for c in code.calls)
            if assignment.target == "return" and len(pair) == len("xy") and given:
                whole = [ALL_OF_SLICE.sub("", text) for text in pair]
                if whole[0] == whole[1] and ":-1]" in pair[0].replace(" ", "") and ONE_ON.search(pair[1]):
                    yield Evidence(text=f"return {', '.join(pair)}", source=assignment.source), BY_HAND, 6.0
            value = written(assignment.value)
            if NEXT_BLOCK.search(value) and any(
                written(c.kwargs.get("labels")) == assignment.target for c in code.calls
            ):
                yield Evidence(text=f"{assignment.target} = {value}"[:160], source=assignment.source), BY_HAND, 6.0


def told(run: Run) -> Iterator[Found]:
    """A note that labels or decoder inputs are shifted twice, or not at all."""
    for fact in noted(run):
        of_shift = "shift" in fact.words and re.search(r"label|target|decoder", fact.words) is not None
        if of_shift and any(TWICE_OR_NOT.match(text.strip().lower()) for text in fact.texts):
            yield fact.evidence, f"{fact.words} {fact.value}", 7.0


def compared_apart(run: Run) -> Iterator[Found]:
    """Predictions of an encoder-decoder compared with labels one place on: its decoder inputs are shifted already."""
    for code in run.code:
        by_hand = any(_shifts_inputs(a) for a in code.assignments) or bool(code.named(*SHIFTERS))
        if not by_hand and not any(ENCODER_DECODERS.search(name) for name in model_names(run)):
            continue
        labels = next((a for a in code.assignments if _is(a, TARGETS, ONE_ON) and "decoder" not in a.target), None)
        guesses = next((a for a in code.assignments if _is(a, GUESSED, ALL_BUT_LAST)), None)
        if labels is None or guesses is None or labels.scope != guesses.scope or _is(labels, GUESSED, ALL_BUT_LAST):
            continue
        shown = f"{labels.target} = {written(labels.value)}; {guesses.target} = {written(guesses.value)}"
        message = "labels and predictions are compared one place apart, and the decoder inputs are shifted already"
        yield Evidence(text=shown[:160], source=labels.source), message, 5.0


def _is(assignment: Assignment, names: re.Pattern[str], cut: re.Pattern[str]) -> bool:
    value = written(assignment.value)
    return cut.search(value) is not None and names.search(f"{assignment.target} {value}") is not None


def _shifts_inputs(assignment: Assignment) -> bool:
    """``shifted_input_ids[:, 1:] = input_ids[:, :-1]``."""
    name = assignment.target.removesuffix("[]")
    place = regex(r"(?:^|,)\s*1:\s*$")
    moved = place.search(assignment.place) is not None and ALL_BUT_LAST.search(written(assignment.value)) is not None
    return moved and IN_PLACE.match(name) is not None


def _shifts_inside(call: Call, code: Code) -> bool:
    if SHIFTING_LOSS.match(last_part(call.name)):
        return True
    named = any("ForCausalLMLoss" in comment for comment in code.comments)
    return MODEL_LOSS.match(call.name) is not None and (named or "vocab_size" in call.kwargs)


def _moved(labels: str, call: Call, code: Code) -> bool:
    if ONE_ON.search(labels):
        return True
    name = NAME.match(labels)
    earlier = [
        a
        for a in code.assignments
        if name is not None
        and a.order < call.order
        and a.scope == call.scope
        and not a.place
        and a.target in (name[1], name[1].rsplit(".", 1)[0])
    ]
    return any(ONE_ON.search(written(a.value)) and TARGETS.search(written(a.value)) for a in earlier)


def _made_into_inputs(call: Call, code: Code, run: Run) -> bool:
    shifted = next((c for c in code.named(*SHIFTERS) if c.scope == call.scope and c.args), None)
    if shifted is None or not TARGETS.search(written(shifted.args[0])):
        return False
    named = any("ForCausalLMLoss" in comment for comment in code.comments)
    return named or CONDITIONAL.search(" ".join((call.scope, *model_names(run)))) is not None


def inputs_and_loss(run: Run) -> Iterator[Found]:
    """Decoder inputs made by shifting, beside a loss that shifts the labels once more inside."""
    for code in run.code:
        by_hand = next((c for c in code.calls if c.name.rsplit(".", 1)[-1] in SHIFTERS), None)
        inside = next((c for c in code.calls if SHIFTING_LOSS.match(last_part(c.name))), None)
        again = next(
            (a for a in code.assignments if a.target == "shift_labels" and ONE_ON.search(written(a.value))), None
        )
        if by_hand is not None and inside is not None:
            yield seen(inside), "decoder inputs are shifted, and the loss shifts the labels again", 7.0
        elif by_hand is not None and again is not None and _whole_labels(code):
            shown = Evidence(text=f"{again.target} = {written(again.value)}", source=again.source)
            yield shown, "decoder inputs are shifted, and the loss shifts the labels again", 6.5
        elif by_hand is not None and by_hand.args and "pad" in written(by_hand.args[-1]) and len(by_hand.args) == 2:
            yield seen(by_hand), OLD_SHIFT, 2.5


def _whole_labels(code: Code) -> bool:
    """Whether a loss is given logits and labels as they are, beside the function that shifts them."""
    given = [c for c in code.calls if "loss" in c.name.lower() and "labels" in c.kwargs]
    return any(written(c.kwargs["labels"]) == "labels" and "logits" in c.kwargs for c in given)
