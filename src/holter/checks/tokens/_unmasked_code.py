"""Code in which a mask does not reach attention: not given on, given as none, or filled row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holter.checks.look import call_text, is_off, plain, seen, written
from holter.checks.script import argument, last_part, receiver, spelt_out, texts
from holter.checks.symptoms import number
from holter.finding import Evidence
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Expression, Run

MASK = regex(
    r"(?:^|_)(?:attn|attention|key_?padding|padding|pad|src|source)?_?(?:mask|attention_bias|attn_bias)$", re.I
)
"""Names of a mask of places, or of a bias that holds one."""

NO_MASK = regex(
    r"loss|label|target|causal|completion|response|\bmlm|image|segment|box|encoder|cross|pixel|output|feature", re.I
)
ATTENDS = regex(r"attn|attention|sdpa", re.I)
OF_IMAGES = regex(r"vision|image|patch|pixel|\bvit\b", re.I)
"""Parts of models whose rows have one length."""

IS_ATTENTION = regex(r"(?:^|[._])(?:\w*_)?(?:attn|attention|sdpa|mha)(?:[._]forward)?$")
"""A call of attention, by its name."""

TORCH_MODULES = frozenset({"TransformerEncoder", "TransformerDecoder", "Transformer", "MultiheadAttention"})
MASK_ARGUMENTS = regex(r"mask", re.I)
OF_TIME = regex(r"^tgt_mask=|causal|subsequent|square|triu|look_?ahead|no_peek|future", re.I)
"""A mask of what is to come, which says nothing of padding."""


TEXT_MODELS = regex(
    r"^(?:model|encoder|forward|generate|(?:\w*_)?(?:bert|roberta|deberta|electra|xlm_?r?|distilbert|transformer|backbone"
    r"|language_model|lm|text_encoder|text_model|base_model|pretrained_model|gpt2?|llama|t5))$",
    re.I,
)
"""Names of text models in code."""

HELPER = regex(r"pad|batch|collat", re.I)
"""Names of helpers that bring rows to one length."""

IDS = regex(r"\binput_?(?:ids|data)\b|\bids\b|\btokens?\b|^(?:inputs|x|batch)$|\[['\"]input_ids['\"]\]")
"""What token ids are called; a whole batch that is spread out (``**inputs``) brings its mask along."""

OR_NOT_GIVEN = regex(
    r"^if \(?\w*mask is None or (?!.*\bmask\.)(?!.*\ball\()(?!.*is None)"
    r"|^if (?!.*\bmask\.)(?!.*None.*None).+ or \w*mask is None$"
)
"""A mask that was not given, or something else: the second alone drops a mask that was."""

PADS_IDS = regex(r"token|proc|^pad$", re.I)
"""Who pads ids; ``F.pad`` and ``np.pad`` pad any tensor."""

MADE_OF_ONES = regex(r"^(?:\w+\.)*ones(?:_like)?\(")


LENGTH = regex(r"^\(?:\s*[\w.\[\]]+\)?$")
"""``:n``: all of an axis up to a place."""

TWO_AXES = regex(
    r"(?:zeros|ones|full|empty)_like\((?:\w+\.)*\w*(?:input_ids|ids|tokens|inputs|labels|batch|padded)\w*"
    r"|(?:zeros|ones|full|empty)\((?:\(|\[)?\s*[^,()\[\]]*(?:len|batch|bs|size|\[0\]|n_)[^,]*,\s*[^,()]+"
)
"""A tensor made with a row for each sample."""

COUNT_OF_ROWS = regex(r"^:\s*(?:\w*(?:batch|bs|rows|n_\w+|num_\w+)\w*|\d+)\b", re.I)

PAD_SAID = regex(
    r"\bpad(?:s|ded|ding)?\b.{0,20}\b(?:to|up to|until|with)\b.{0,25}\b(?:max\w*|longest|length|batch|same|zeros?|pad)"
    r"|\bids?\b.{0,15}\bpadded\b"
)
"""A comment that says that rows are brought to one length."""


def unhanded(code: Code) -> Iterator[Evidence]:
    """Every way in which this file keeps a mask from attention."""
    yield from _none_given(code)
    yield from _unread(code)
    yield from _rows_filled(code)
    yield from _torch_modules(code)
    yield from _filled_little(code)
    yield from _multiplied(code)
    yield from _pooled(code)


def _pads_by_comment(code: Code) -> bool:
    """Whether a comment says that rows are padded."""
    return any(PAD_SAID.search(comment.lower()) for comment in code.comments)


def _is_mask(name: str) -> bool:
    last = last_part(name).removesuffix("[]").strip("'\"")
    return MASK.search(last) is not None and not NO_MASK.search(last)


def _none_given(code: Code) -> Iterator[Evidence]:
    """``attn_mask=None`` in attention that is not causal, in a file where such a mask is made."""
    made = next((a for a in code.assignments if _is_mask(a.target) and not is_off(a.value)), None)
    passed = [c for c in code.calls if any(_is_mask(name) and not is_off(v) for name, v in c.kwargs.items())]
    reaches = any(ATTENDS.search(last_part(c.name)) for c in passed)
    if reaches or (made is None and not passed) or any(OF_IMAGES.search(c.scope) for c in code.calls):
        return
    for call in code.calls:
        given = next((name for name in call.kwargs if _is_mask(name) and call.kwargs[name] is None), None)
        causal = call.kwargs.get("is_causal", call.kwargs.get("causal", False))
        if given is not None and ATTENDS.search(last_part(call.name)) and is_off(causal):
            yield seen(call)


def _unread(code: Code) -> Iterator[Evidence]:
    """An argument ``mask=None`` of a function that calls attention and never looks at the mask."""
    for taken in code.assignments:
        if taken.value is not None or not taken.scope or not _is_mask(taken.target):
            continue
        if OF_IMAGES.search(taken.scope):
            continue
        inside = [c for c in code.calls if c.scope == taken.scope]
        calls = [c for c in inside if IS_ATTENTION.search(c.name) or _softmax_of_scores(c)]
        word = regex(rf"(?<!\w){re.escape(taken.target)}(?!\w)")
        rest = [a for a in code.assignments if a.scope.startswith(taken.scope) and a is not taken]
        read = any(word.search(call_text(c)) or any(word.search(g) for g in c.guards) for c in inside)
        read = read or any(
            word.search(written(a.value)) or word.search(a.target) or any(word.search(g) for g in a.guards)
            for a in rest
        )
        if calls and not read and not any(name.startswith("**") for name in calls[0].kwargs):
            text = f"{taken.target} is an argument of {taken.scope} and not given to {call_text(calls[0])}"
            yield Evidence(text=text[:160], source=calls[0].source)


def _softmax_of_scores(call: Call) -> bool:
    return last_part(call.name) == "softmax" and re.search(r"attn|score|energy", call_text(call), re.I) is not None


def _rows_filled(code: Code) -> Iterator[Evidence]:
    """``mask[:n] = True`` in a loop over lengths, of a mask with a row for each sample: rows are set, not places."""
    for filled in code.assignments:
        name = filled.target.removesuffix("[]")
        if not filled.loop_depth or not _is_mask(filled.target) or not LENGTH.match(filled.place):
            continue
        if COUNT_OF_ROWS.match(filled.place):
            continue
        made = [a for a in code.assignments if a.target == name and a.order < filled.order and not a.loop_depth]
        if made and TWO_AXES.search(written(made[-1].value)):
            yield Evidence(text=f"{name}[{filled.place}] = {written(filled.value)}", source=filled.source)


def _torch_modules(code: Code) -> Iterator[Evidence]:
    """PyTorch's own encoder called without ``src_key_padding_mask`` where padding has an id."""
    padding = next((c for c in code.named("Embedding") if c.kwargs.get("padding_idx") is not None), None)
    if padding is None and not code.named("pad_sequence"):
        return
    built = {a.target: a for a in code.assignments if _builds(a)}
    for call in code.calls:
        module = built.get(call.name)
        if module is None or call.order < module.order or receiver(call) == "super()":
            continue
        given = [*map(written, call.args), *(f"{name}={written(v)}" for name, v in call.kwargs.items())]
        masks = [text for text in given if MASK_ARGUMENTS.search(text)]
        if all(OF_TIME.search(text) for text in masks) and not any(text.startswith("*") for text in given):
            yield seen(call)


def _filled_little(code: Code) -> Iterator[Evidence]:
    """Scores of masked places that get 0 or another small number before the softmax, which leaves them their share."""
    for call in code.named("masked_fill", "masked_fill_"):
        if len(call.args) < 2 or not SCORES.search(f"{receiver(call)} {call.target}"):
            continue
        text = written(call.args[1])
        default = next(
            (a.value for a in code.assignments if (a.target, a.scope) == (text.strip("-"), call.scope)), None
        )
        value = number(text if default is None else default)
        softmaxes = [c for c in code.named("softmax", "Softmax") if c.scope == call.scope]
        if value is not None and abs(value) < LITTLE and softmaxes and all(c.order > call.order for c in softmaxes):
            yield seen(call)


def _multiplied(code: Code) -> Iterator[Evidence]:
    """Scores times a mask before the softmax: a masked score becomes 0."""
    for scaled in code.assignments:
        if not SCORES.search(scaled.target) or not TIMES_MASK.search(written(scaled.value)):
            continue
        softmaxes = [c for c in code.named("softmax", "Softmax") if c.scope == scaled.scope]
        of_it = any(scaled.target in (*map(written, c.args), receiver(c)) for c in softmaxes)
        if of_it and all(c.order > scaled.order for c in softmaxes):
            yield Evidence(text=f"{scaled.target} = {written(scaled.value)}"[:160], source=scaled.source)


def _pooled(code: Code) -> Iterator[Evidence]:
    """A mean over all places of hidden states, in a file that knows a mask and never weighs by it."""
    said = [*texts(code), *(a.place for a in code.assignments), *map(call_text, code.calls)]
    masks = any(regex(r"attention_mask|padding\s*=\s*True|padding='longest'").search(text) for text in said)
    if not masks or any(WEIGHED.search(text) for text in said):
        return
    for call in code.named("mean"):
        own = receiver(call) not in ("torch", "tf", "np", "jnp")
        rows, axis = (
            (receiver(call), argument(call, 0, "dim", "axis")) if own else ("", argument(call, 1, "dim", "axis"))
        )
        rows = rows or written(call.args[0] if call.args else "")
        spelt = spelt_out(Expression(text=rows), call, code)
        if axis in (1, -2, [1]) and HIDDEN.search(f"{rows} {spelt}") and not OF_IMAGES.search(call.scope):
            yield seen(call)


SCORES = regex(r"score|attn|attention|energy|dots|sim|weights|logits")
TIMES_MASK = regex(
    r"^[\w.]*(?:score|attn|energy|dots|sim|weights|logits)\w* \* (?:tf\.cast\()?\(?[\w.]*mask\b(?![\w.]* [-+*/])"
)
LITTLE = 50.0
"""exp(-50) is nothing beside any other score; exp of a smaller number may be something."""

HIDDEN = regex(r"hidden|last_layer|embeddings|token_emb|encoder_out|sequence_output")
WEIGHED = regex(
    r"mask\w*\)?(?:\.\w+\([^()]*\))*\s*\*|\*\s*\(?\w*mask|mask\w*\.sum\(|\[[^\]]*mask\w*(?:\.bool\(\))?\]|masked_|where\(|lengths?\b"
)
"""Hidden states, and any weighing of places by a mask or a length."""


def _builds(assignment: Assignment) -> bool:
    value = written(assignment.value)
    name = value.split("(", 1)[0]
    return "(" in value and last_part(name) in TORCH_MODULES and assignment.target != "return"


def _takes_ids(call: Call) -> bool:
    """Whether a call by its name is that of a text model: ``self.bert(...)``, ``self.text_encoder(...)``."""
    return TEXT_MODELS.match(last_part(call.name)) is not None


def padded_alike(run: Run) -> Iterator[Evidence]:
    """One helper that pads with the padding id, given the ids and then the mask; harmless where that id is 0."""
    pad = number(plain(run, "pad_token_id", "tokenizer.pad_token_id"))
    if pad == 0:
        return
    for code in run.code:
        told = pad is not None or any("pad_token_id" in comment for comment in code.comments)
        of_ids = {call.name for call in code.calls if call.target.endswith("input_ids") and HELPER.search(call.name)}
        for call in code.calls:
            if told and call.target.endswith("attention_mask") and call.name in of_ids and not call.kwargs:
                yield seen(call)


def made_of_ones(run: Run) -> Iterator[Evidence]:
    """``attention_mask=torch.ones_like(input_ids)`` in a script that pads, or ones in the place of a mask given."""
    for code in run.code:
        yield from _given_and_dropped(code)
        pads = _pads(code)
        padded = {pad.target for pad in pads if pad.target}
        for call in code.calls:
            of_padded = any(written(value) in padded for value in call.args[:1])
            named = call.target.endswith("attention_mask") or (of_padded and _is_mask(call.target))
            made = "ones" in written(call.kwargs.get("attention_mask")) or (
                call.name.endswith(("ones_like", "ones")) and named
            )
            if made and _reaches(pads, call) and not any("None" in guard for guard in call.guards):
                yield seen(call)


def _given_and_dropped(code: Code) -> Iterator[Evidence]:
    """``if attention_mask is None or not packing: return ones(...)``: a mask that was given is not looked at."""
    for assignment in code.assignments:
        value = written(assignment.value)
        guard = next((guard for guard in assignment.guards if OR_NOT_GIVEN.search(guard)), None)
        made = MADE_OF_ONES.match(value) is not None
        if guard is not None and made and (assignment.target == "return" or "mask" in assignment.target):
            yield Evidence(text=f"{guard}: {assignment.target} = {value}"[:160], source=assignment.source)


def _pads(code: Code) -> list[Call]:
    """Calls that pad rows of token ids: a tokenizer told to, ``pad_sequence``, and not the padding of a tensor."""
    told = [c for c in code.calls if written(c.kwargs.get("padding")) in ("True", "longest", "max_length")]
    return [*told, *code.named("pad_sequence"), *(c for c in code.named("pad") if PADS_IDS.search(c.name))]


def _reaches(pads: list[Call], call: Call) -> bool:
    """Whether what was padded may be what a call is given: in one function, or one of them outside any function."""
    return any(pad.scope == call.scope or not pad.scope or not call.scope or "collat" in pad.scope for pad in pads)


def unmasked(run: Run) -> Iterator[Evidence]:
    """``model(input_ids)`` or ``model.generate(ids)`` without a mask in a script that pads."""
    for code in run.code:
        pads = _pads(code)
        told = _pads_by_comment(code)
        for call in (c for c in code.calls if _takes_ids(c)):
            if not (told or _reaches(pads, call)) or call.name.startswith("super()"):
                continue
            given = any("mask" in name or name.startswith("**") for name in call.kwargs)
            ids = [written(value).lower() for value in (*call.args, *call.kwargs.values())]
            spread = any(text.startswith("*") for text in ids)
            if len(call.args) < 2 and not given and not spread and any(IDS.search(text) for text in ids):
                yield seen(call)
