"""Code in which padding is counted in the loss: copied into labels, given as labels, or not ignored."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holter.checks.look import call_text, written
from holter.checks.script import last_part, receiver, spelt_out, texts
from holter.checks.symptoms import number
from holter.finding import Evidence
from holter.patterns import regex
from holter.run import Call, Code, Expression

MASKING = ("DataCollatorForSeq2Seq", "DataCollatorForLanguageModeling", "DataCollatorForCompletionOnlyLM", "SFTTrainer")
COPIED = regex(
    r"input_ids['\"]?\]?(?:\.detach\(\))?(\.clone\(\)|\.copy\(\)|\[:\]|$)|labels?\[?['\"]?\]?\[?['\"]input_ids['\"]\]"
)
PADS = regex(r"\bpadding\s*=\s*(?:'max_length'|\"max_length\"|true)|\bpad(?:s|ded|ding)? (?:to|with|up)\b|pad_to_max")
"""A comment that says that ids are padded."""

POSITIONS = regex(
    r"(?:transpose|permute|swapaxes|moveaxis)\((?:1, ?2|0, ?2, ?1|1, ?-1|-1, ?1|-1, ?-2)\)|\.mT\b|rearrange\("
    r"|\[(?:\.\.\.|:), ?1:\]|(?:view|reshape)\(-1, ?[\w.]*(?:vocab|n_tokens|num_tokens|ntoken)\w*"
)
"""Logits of a sequence, made ready for a loss over its tokens."""

MODEL = regex(r"model|\bnet\b|forward$", re.I)
TARGET = regex(r"^(?:y|y_\w+|tgt\w*|trg\w*|\w*targets?|\w*labels?|\w*tags|summar\w*|answers?|\w*_out)$", re.I)
"""What a model is called as, and names of what it has to learn."""

PADDERS = ("pad_sequence", "BucketIterator", "padded_batch", "pad_sequences")
PAD_MARK = regex(r"[<\[]pad[>\]]", re.I)
OWN_LOSS = regex(r"ignore|!=|oss_f|criterion|cross_?entropy|CrossEntropy|where\(|masked_fill", re.I)
OF_FAIRSEQ = regex(r"sample\[['\"]target['\"]\]|model\.get_targets\(")
NEXT_TOKENS = regex(r"\[(?:(?:\.\.\.|:), ?)?1:\]|\[1:, ?:\]")
"""Code that pads rows of tokens, and targets that are the tokens one place on."""

PAD_ID = regex(r"pad", re.I)
FLAT = regex(r"(?:view|reshape)\(-1\)|flatten\(")
VOCABULARY = regex(
    r"vocab|, ?(?:n|num)_\w+\)|n_tok|ntok|\bV\b|(?:size|shape)[\[(]-1|(?:view|reshape)\(-1, ?\w+\.(?:size|shape)"
)
BATCH_IDS = regex(r"(?:inputs?|batch|x|encoded|data)(?:\.pop\(|\.get\(|\[)['\"]input_ids['\"]|\binput_ids\b")
BLOCKS = regex(r"block|chunk|packed", re.I)
"""Ids of a padded batch as targets, rows padded with an id, and targets laid out one after the other."""

LEFT_OUT = regex(
    r"mask|!=|(?<!\w)(?:ne|gt)\(|where\(|weight|non_?pad|\blen(?:gth)?s\b|ignore|pad_(?:token_)?id\b|pad_idx|> 0|keep"
    r"|pack"
)
PADDED_ROWS = regex(
    r"^(?=.*\b(?:tokens?|ids|sequences?|texts?|rows|prompts?|batch\w*|labels|int32)\b)(?=.*\bpadded\b)"
    r"(?!.*(?:\bno\b|\bnot\b|\bnever\b|without|-100|packed|ignor|mask|image|stripped|un-?pad))"
)
ONE_ON = regex(r"\[(?:[:.]+, ?)*1:(?:, ?(?:None|np\.newaxis|jnp\.newaxis|tf\.newaxis))?\]|\[\.\.\., 1:")
MEAN = regex(r"(?:^|\.)(?:reduce_)?mean$")
PICKS = regex(r"^(?:gather|take_along_axis|gather_nd|batch_gather)$")
PER_TOKEN = regex(r"cross_?entropy\w*$|nll_loss$")
"""Whatever leaves places out; a remark that rows are padded; and losses of each token, whose mean is taken."""

MASKED = regex(r"mask|pad_(?:token_)?id|pad_idx|non_?pad|\blengths\b", re.I)
PAD_CLASS = regex(
    r"\b(?:labels?|targets?)\b.{0,20}\bpadded with (?:0|zeros?)\b|"
    r"\blabels?\b.{0,30}\bpad\w*\b.{0,20}(?:\bare\b|\bis\b|=|\bset to\b|\bget\b) ?(?:the )?(?:class )?\d"
)
"""A comment that says that labels of padding are a class like others."""


def copied(code: Code) -> Iterator[tuple[Evidence, float]]:
    """Padded ids copied into labels, in a file without -100."""
    if masks(code):
        return
    padded = [c for c in code.calls if written(c.kwargs.get("padding")) in ("max_length", "longest", "True")]
    by_hand = {
        c.target: c
        for c in code.named("pad_sequence")
        if c.target and written(c.kwargs.get("padding_value", 0)) != "-100"
    }
    for row in code.assignments:
        given = written(row.value.get("labels", "")) if isinstance(row.value, dict) else ""
        name = given.removesuffix(".clone()")
        if name in by_hand and name in written(row.value.get("input_ids", "")):
            yield Evidence(text=f"labels: {given}, of {call_text(by_hand[name])}"[:160], source=row.source), 5.5
    told = any(PADS.search(comment.lower()) for comment in code.comments)
    for assignment in code.assignments:
        value = assignment.value.text if isinstance(assignment.value, Expression) else ""
        if "labels" in assignment.target and COPIED.search(value) and (padded or told):
            shown = f"{assignment.target} = {value}, with padded ids and no -100 anywhere"
            yield Evidence(text=shown, source=assignment.source), 4.5


def given(code: Code) -> Iterator[tuple[Evidence, float]]:
    """Padded ids given to a model as its labels; an ``ignore_index`` elsewhere is none of the model's."""
    padded = any(written(c.kwargs.get("padding")) in ("max_length", "longest", "True") for c in code.calls)
    if not padded or code.named(*MASKING) or any("-100" in text for text in texts(code)):
        return
    yield from _second_of_two(code)
    for call in code.calls:
        given = call.kwargs.get("labels")
        if isinstance(given, Expression) and COPIED.search(given.text) and "oss" not in call.name:
            yield Evidence(text=f"{call_text(call)}, with padded ids and no -100 anywhere", source=call.source), 6.0


def _second_of_two(code: Code) -> Iterator[tuple[Evidence, float]]:
    """Targets tokenised with padding, whose ids go to the model as they are."""
    if any(OWN_LOSS.search(text) for text in (*texts(code), *(c.name for c in code.calls))):
        return
    handed = next((c for c in code.calls if "labels" in c.kwargs and MODEL.search(c.name)), None)
    for call in code.calls if handed is not None else ():
        if TARGET.search(call.target) and written(call.kwargs.get("padding")) in ("max_length", "longest", "True"):
            ids = [
                t for t in texts(code) if re.search(rf"\b{re.escape(call.target)}(?:\.input_ids|\[.input_ids.\])", t)
            ]
            if ids:
                yield Evidence(text=f"{call.target} = {call_text(call)}, and no -100 anywhere", source=call.source), 5.5


def tagged(code: Code) -> Iterator[tuple[Evidence, float]]:
    """Keras: tags padded with an ordinary class, and neither a mask of the input nor weights of the samples."""
    said = [*texts(code), *(c.name for c in code.calls), *(k for c in code.calls for k in c.kwargs)]
    if any(re.search(r"mask|sample_weight|class_weight|ignore", text, re.I) for text in said):
        return
    if any("crossentropy" in text or "CRF" in text for text in said) and code.named("TimeDistributed", "Embedding"):
        for call in code.named("pad_sequences"):
            if TARGET.search(call.target) and number(call.kwargs.get("value", 0)) not in (None, -100.0, -1.0):
                yield (
                    Evidence(text=f"{call.target} = {call_text(call)}, and nothing is masked", source=call.source),
                    5.0,
                )


def own_loss(code: Code) -> Iterator[tuple[Evidence, float]]:
    """A loss over all positions of a sequence, without ``ignore_index``, of rows that a tokenizer padded."""
    padded = next(
        (c for c in code.calls if written(c.kwargs.get("padding")) in ("max_length", "longest", "True")), None
    )
    zeros = next((comment for comment in code.comments if PAD_CLASS.search(comment.lower())), None)
    built = {c.target for c in code.named("CrossEntropyLoss", "NLLLoss") if not c.kwargs and not c.args}
    if masks(code) or code.named("masked_select", "pack_padded_sequence"):
        return
    by_hand = next((c for c in code.named(*PADDERS)), None) or next(
        (t for t in texts(code) if PAD_MARK.search(t)), None
    )
    for call in code.calls:
        given = [written(value) for value in (*call.args, *call.kwargs.values())]
        ours = last_part(call.name) in ("nll_loss", "cross_entropy") or call.name in built
        if ours and any(OF_FAIRSEQ.match(text) for text in given) and not any(map(MASKED.search, texts(code))):
            yield Evidence(text=f"{call_text(call)}, of padded rows, and no index is ignored", source=call.source), 5.0
    for call in code.calls if by_hand is not None else ():
        given = [written(value) for value in call.args]
        if (
            call.name in built
            and len(given) > 1
            and NEXT_TOKENS.search(given[1])
            and not any(map(MASKED.search, given))
        ):
            yield Evidence(text=f"{call_text(call)}, of padded rows, and no index is ignored", source=call.source), 5.0
    if (padded is None and zeros is None) or any(MASKED.search(text) for text in texts(code)):
        return
    for call in code.calls:
        direct = last_part(call.name) in ("cross_entropy", "nll_loss") and "weight" not in call.kwargs
        if padded is not None and (direct or call.name in built) and _over_positions(call, code):
            yield Evidence(text=f"{call_text(call)}, of padded rows, and no index is ignored", source=call.source), 5.0
        elif (
            zeros is not None
            and last_part(call.name) in ("reduce_sum", "reduce_mean", "sum", "mean")
            and "loss" in call.target
        ):
            yield Evidence(text=f"{zeros}; {call_text(call)}", source=call.source), 5.0


def of_inputs(code: Code) -> Iterator[tuple[Evidence, float]]:
    """A loss of one's own over the ids of a batch, or over rows padded with a given id, where nothing is left out."""
    if masks(code) or code.named("masked_select", "pack_padded_sequence", "group_texts"):
        return
    built = {c.target for c in code.named("CrossEntropyLoss", "NLLLoss") if not c.kwargs and not c.args}
    padded = next((c for c in code.named(*PADDERS) if PAD_ID.search(written(c.kwargs.get("padding_value", "")))), None)
    scored = [t for t in texts(code) if re.search(r"==", t) and re.search(r"mask", t)]
    for call in code.calls:
        given = [written(value) for value in call.args]
        plain = last_part(call.name) in ("cross_entropy", "nll_loss") and not {"weight", "reduction"} & set(call.kwargs)
        plain = plain or call.name.endswith("CrossEntropyLoss()")
        if not (plain or call.name in built) or len(given) < 2 or any(map(MASKED.search, given)):
            continue
        flat, name = FLAT.search(given[1]) is not None, re.match(r"\w+", given[1])
        target = given[1] + (spelt_out(Expression(text=name[0]), call, code) if name is not None else "")
        ids = BATCH_IDS.search(target) is not None and not MASKED.search(target) and not BLOCKS.search(" ".join(given))
        trainer = "compute_loss" in call.scope or any("attention_mask" in text for text in texts(code))
        told = name is not None and any(re.search(rf"==\s*{name[0]}\b", text) for text in scored)
        if (ids and trainer) or (flat and (told or (padded is not None and VOCABULARY.search(given[0])))):
            yield Evidence(text=f"{call_text(call)}, of padded rows, and no index is ignored", source=call.source), 6.0


def of_next_tokens(code: Code) -> Iterator[tuple[Evidence, float]]:
    """The mean over all places of what is lost at the next token, of rows that are said to be padded."""
    said = [*texts(code), *(key for c in code.calls for key in c.kwargs if key != "padding_value")]
    filled = {written(c.kwargs["padding_value"]) for c in code.calls if "padding_value" in c.kwargs}
    if masks(code) or any(LEFT_OUT.search(text) for text in said if text not in filled):
        return
    remark = next((comment for comment in code.comments if PADDED_ROWS.search(comment.lower())), None)
    padder = next((c for c in code.calls if last_part(c.name) in PADDERS or is_padded(c)), None)
    shown = remark or (call_text(padder) if padder is not None else None)
    averaged = [f"{receiver(c)} {call_text(c)}" for c in code.calls if MEAN.search(c.name)]
    for call in code.calls if shown is not None else ():
        given = " ".join(written(value) for value in (*call.args, *call.kwargs.values()))
        picks = PICKS.search(last_part(call.name)) is not None and any(
            "log_softmax" in t for t in (*said, *_names(code))
        )
        if (
            ONE_ON.search(given)
            and _is_averaged(call, averaged, code)
            and (picks or PER_TOKEN.search(last_part(call.name)))
        ):
            yield Evidence(text=f"{call_text(call)}, {shown}"[:160], source=call.source), 5.5
            return


def _is_averaged(call: Call, averaged: list[str], code: Code) -> bool:
    """Whether a mean is taken of what a call gives, directly or under the name it got."""
    kind = last_part(call.name)
    names = [kind, *(a.target for a in code.assignments if kind in written(a.value) and a.target.isidentifier())]
    return any(re.search(rf"(?<![\w.]){name}(?!\w)|\.{name}\(", text) for name in names for text in averaged)


def is_padded(call: Call) -> bool:
    """Whether a tokenizer is asked to pad."""
    return written(call.kwargs.get("padding")) in ("max_length", "longest", "True")


def _names(code: Code) -> list[str]:
    return [call.name for call in code.calls]


def _over_positions(call: Call, code: Code) -> bool:
    """Whether logits are turned so that each position of a sequence is one prediction of a token."""
    given = [written(value) for value in (*call.args, *call.kwargs.values())]
    names = {name for text in given for name in re.findall(r"\w+", text)}
    turned = [written(a.value) for a in code.assignments if a.target in names and a.scope == call.scope]
    return any(POSITIONS.search(text) for text in (*given, *turned))


def masks(code: Code) -> bool:
    """Whether anything in a file is ignored."""
    texts = [written(a.value) for a in code.assignments] + [
        written(v) for c in code.calls for v in (*c.args, *c.kwargs.values())
    ]
    return any("-100" in text or "ignore_index" in text for text in texts) or bool(code.named(*MASKING))
