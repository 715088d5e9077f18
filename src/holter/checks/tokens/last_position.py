"""TOK031 padding-in-the-middle-or-read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, known, plain, seen, written
from holter.checks.script import argument, last_part, texts
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Expression, Run
from holter.stages import Stage

LAST = regex(
    r"(?:logits|outputs?|out|hidden\w*|last_hidden_state)\s*(?:\[0\])?\[\s*(?::|\.\.\.)\s*,\s*-1\s*(?:,\s*:\s*)?\]"
)
PADDED = ("True", "max_length", "longest")
PROMPTS = regex(r"input_ids|prompt|query|quer|context|source|question", re.I)
ANSWERS = regex(r"label|target|answer|completion|response|decoder_input|continuation", re.I)
FINDS_LAST = regex(r"sequence_lengths|\.sum\(|lengths?\b|argmax\(|gather|seq_len|last_index|last_token_ind", re.I)
MASK = regex(r"mask", re.I)
COUNTS_REAL = regex(
    r"(?:mask\w*(?:['\"]\])?|\bne\(.*pad\w*\)|!= ?[\w.]*pad\w*\)+)(?:\.(?:long|int|float|to|eq)\([^()]*\))*"
    r"\.sum\((?:dim ?= ?|axis ?= ?)?(?:-1|1)\)\)?(?:\.\w+\(\))* ?- ?1\b"
    r"|\bsum\((?:\w+\.)*\w*mask\w*, (?:dim ?= ?|axis ?= ?)?(?:-1|1)\)(?:\.\w+\(\))* ?- ?1\b",
    re.I,
)
"""The number of real tokens of each row less one: the last of them only where padding is on the right."""

SIDE_ASKED = regex(r"left_pad|padding_side\s*==|is_left|\[:, ?-1\]\.sum|cumsum|% ?\w|flip\(|nonzero", re.I)
"""Code that looks at the side of padding."""


class PaddingReadAsLast(Check):
    """What it looks for
        Rows that are padded on the right, of which the last position is read (``logits[:, -1]``), or to which an
        answer is appended (``cat([prompts, answers], dim=1)``); rows that are padded on the left, of which the position
        is read that counts the real tokens (``mask.sum(1) - 1``).

    Why it hurts
        The last position of all but the longest row is padding: the prediction is made from it, or it lies between
        the prompt and its answer, which the model never sees so again.

    How to fix it
        Pad prompts on the left, or take the position of the last real token from the mask.

    When to ignore it
        With rows of one length.

    Threshold
        None.

    Sources
        transformers' guide to generation, padding side.
    """

    code = "TOK031"
    name = "padding-read-as-last"
    title = "Padding stands where the last token is read or the answer begins"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(any_of=(("code",),))
    bad = (
        case(
            "of a batch by name",
            config={"padding_side": "left"},
            files={"a.py": "n = enc['attention_mask'].sum(dim=1) - 1\nh = x[torch.arange(x.size(0)), n]\n"},
        ),
        script(
            "read",
            "x = pad_sequence(rows, batch_first=True)\nout = model(x, attention_mask=m)[0]\n"
            "nxt = torch.argmax(out[:, -1, :], dim=1)\n",
        ),
        case(
            "counted on the left",
            config={"padding_side": "left"},
            files={
                "a.py": "last = torch.ne(input_ids, pad_token_id).sum(-1) - 1\npooled = logits[torch.arange(n), last]\n"
            },
        ),
        script(
            "counted by the mask",
            "tok.padding_side = 'left'\nidx = attention_mask.sum(dim=1) - 1\n"
            "reward = rewards.gather(1, idx.unsqueeze(1))\n",
        ),
        case(
            "appended",
            config={"padding_side": "right"},
            files={"a.py": "ids = torch.cat([batch['input_ids'], batch['labels']], dim=-1)\n"},
        ),
    )
    good = (
        case(
            "counted for something else",
            config={"padding_side": "left"},
            files={"a.py": "n = enc['attention_mask'].sum(dim=1) - 1\nh = h[torch.arange(4), 0]\n"},
        ),
        script(
            "on the left",
            "x = pad_sequence(rows, batch_first=True, padding_side='left')\nout = model(x)[0]\n"
            "nxt = torch.argmax(out[:, -1, :], dim=1)\n",
        ),
        case(
            "counted on the right",
            config={"padding_side": "right"},
            files={
                "a.py": "last = torch.ne(input_ids, pad_token_id).sum(-1) - 1\npooled = logits[torch.arange(n), last]\n"
            },
        ),
        case(
            "counted for a mean",
            config={"padding_side": "left"},
            files={"a.py": "n = attention_mask.sum(dim=1) - 1\nmean = total / n\n"},
        ),
        case(
            "left by the tokenizer",
            config={"padding_side": "left"},
            files={"a.py": "ids = torch.cat([batch['input_ids'], batch['labels']], dim=-1)\n"},
        ),
        script(
            "the last real one",
            "x = pad_sequence(rows, batch_first=True)\nout = model(x)[0]\n"
            "lengths = mask.sum(1) - 1\nnxt = out[rows_of, lengths].argmax(-1)\n",
        ),
        case("one row", files={"a.py": "out = model(ids).logits\nnxt = out[:, -1, :].argmax(-1)\n"}),
        case(
            "rows below each other",
            config={"padding_side": "right"},
            files={"a.py": "ids = torch.cat([batch['input_ids'], batch['labels']], dim=0)\n"},
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first place of each file, by the side of padding."""
        side = written(plain(run, "padding_side", "tokenizer.padding_side") or "").lower()
        for code in run.code:
            if side == "left":
                found = next(_counted(code, run), None)
            else:
                found = next(_read(code, side), None) or next(_appended(code, side), None)
            if found is not None:
                message, evidence = found
                yield self.finding(
                    message,
                    evidence=evidence,
                    clues=clues(message, padding_side=6.0),
                    fix=Fix(summary="Pad prompts on the left, or find the last real token by the mask."),
                )
                return


Found = tuple[str, list[Evidence]]


def _read(code: Code, side: str) -> Iterator[Found]:
    padded = next((c for c in code.calls if _pads_right(c, side)), None)
    if padded is None or any("left" in text for text in texts(code)):
        return
    if any(FINDS_LAST.search(text) and MASK.search(text) for text in texts(code)):
        return
    places: list[Assignment | Call] = [*code.assignments, *code.calls]
    for place in places:
        if place.order < padded.order or place.scope != padded.scope:
            continue
        text = call_text(place) if isinstance(place, Call) else written(place.value)
        if LAST.search(text) and not place.loop_depth:
            shown = Evidence(text=text[:160], source=place.source)
            yield "rows are padded on the right, and the last position of each is read", [seen(padded), shown]


def _counted(code: Code, run: Run) -> Iterator[Found]:
    """A position that is the number of real tokens less one, used to pick from rows that are padded on the left."""
    if any(SIDE_ASKED.search(text) for text in (*texts(code), *(g for a in code.assignments for g in a.guards))):
        return
    for counted in code.assignments:
        if not COUNTS_REAL.search(written(counted.value)) or counted.place:
            continue
        picks = regex(
            rf"(?:logits|hidden\w*|outputs?|rewards?|scores?|values?|state)\w*(?:\[0\])?\[[^\[\]]*(?:\([^()]*\))?[^\[\]]*"
            rf"(?<![\w.]){re.escape(counted.target)}\b|gather\([^()]*{re.escape(counted.target)}\b"
            rf"|\w\[[^\[\]]*arange\([^\[\]]*\), ?{re.escape(counted.target)}\]"
        )
        for used in code.assignments:
            if used.order > counted.order and picks.search(written(used.value)):
                side = known(run, "padding_side", "tokenizer.padding_side")
                shown = [
                    Evidence(text=f"{a.target} = {written(a.value)}"[:160], source=a.source) for a in (counted, used)
                ]
                message = "rows are padded on the left, and the position that counts their tokens is read"
                yield message, [*([side.evidence] if side is not None else []), *shown]
                return


def _pads_right(call: Call, side: str) -> bool:
    """``pad_sequence`` pads on the right unless it is told; a tokenizer as it is set."""
    if last_part(call.name) == "pad_sequence":
        return True
    return side == "right" and written(call.kwargs.get("padding")) in PADDED


def _appended(code: Code, side: str) -> Iterator[Found]:
    if side != "right" or any("left" in text for text in texts(code)):
        return
    for call in code.named("cat", "concat", "concatenate"):
        parts = call.args[0] if call.args and isinstance(call.args[0], list) else []
        names = [written(part) for part in parts if isinstance(part, Expression)]
        along = argument(call, 1, "dim", "axis")
        joined = len(names) == 2 and along in (1, -1) and PROMPTS.search(names[0]) and ANSWERS.search(names[1])
        if joined and not any(MASK.search(name) for name in names):
            yield "prompts are padded on the right, and answers are appended behind the padding", [seen(call)]
