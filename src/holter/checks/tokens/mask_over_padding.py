"""TOK013 mask-covers-padding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import calls, comments, is_on, known, plain, written
from holter.checks.noted import noted
from holter.checks.symptoms import complaint, number
from holter.checks.tokens._unmasked_code import made_of_ones, padded_alike, unhanded, unmasked
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

ON_PADDING = (
    "attention_mask_on_padding",
    "attention_mask_all_ones",
    "mask_all_ones",
    "padding_attended",
    "attended_padding_fraction",
    "attended_padding",
)
ABSENT = (
    "attention_mask",
    "attention_mask_given",
    "has_attention_mask",
    "attention_mask_passed",
    "key_padding_mask",
    "src_key_padding_mask",
    "encoder_attention_mask",
    "padding_mask",
)
UNMASKED = regex(
    r"(?:no|without|missing|never|not)\b.{0,20}attention_?\s?mask"
    r"|attention_?\s?mask.{0,20}(?:not passed|missing|omitted)"
)
UNUSED = regex(
    r"\b(?:never|not) (?:\w+ )?(?:used|applied|passed|read|given)\b|\b(?:unused|ignored|dropped|discarded)\b"
)
OF_LOSS = regex(r"\b(?:loss|label|labels|target|completion|gradient)\b")
"""A note on a mask that nobody uses; masks of the loss are another matter."""

DECODERS = ("causal", "gpt", "llama", "qwen", "mistral", "gemma", "opt", "bloom", "decoder")

LEAST_PADDED = 2
"""Padding ids at one end; a single one may be a token that shares the id."""


class MaskCoversPadding(Check):
    """What it looks for
        Measured or written facts that padding positions have mask 1, or that no mask is passed; code in which a mask
        does not reach attention.

    Why it hurts
        Real tokens attend to padding: the result of a sample depends on how long its neighbours are.

    How to fix it
        Mask 0 on padding, and the mask passed to the model.

    When to ignore it
        Causal attention with padding on the right: nothing real sees the padding. That is no finding.

    Threshold
        Any padding that is attended to.

    Sources
        transformers' glossary on attention masks.
    """

    code = "TOK013"
    name = "mask-covers-padding"
    title = "Padding is attended to"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(any_of=(("code",), ("facts",), *((name,) for name in (*ON_PADDING, *ABSENT))))
    bad = (
        case("ones", facts={"attention_mask_on_padding": 1}),
        case(
            "padded alike",
            config={"pad_token_id": 1},
            files={"a.py": "input_ids = pad_rows(input_ids)\nattention_mask = pad_rows(attention_mask)\n"},
        ),
        case("listed", facts={"pad_token_id": 0, "input_ids": [7, 8, 0, 0, 0], "attention_mask": [1, 1, 1, 1, 1]}),
        case(
            "listed by rows",
            facts={
                "pad_token_id": 0,
                "input_ids": [[5, 6, 7, 8], [5, 0, 0, 0]],
                "attention_mask": [[1, 1, 1, 1], [1, 1, 1, 1]],
            },
        ),
        script(
            "ones like the padded ids",
            "ids = pad_sequence(rows, batch_first=True)\nmask = torch.ones_like(ids)\nf(ids, mask)\n",
        ),
        case("generated", files={"a.py": "x = tok(t, padding=True)\nmodel.generate(x.input_ids)\n"}),
        script(
            "given and dropped",
            "def full_mask(ids, attention_mask=None, packed=False):\n"
            "    if attention_mask is None or not packed:\n        return torch.ones(ids.shape)\n",
        ),
        script("padding told by a comment", "# input_ids: padded to max_length\nhidden = self.bert(input_ids)[1]\n"),
        script(
            "none given to attention",
            "attention_bias = ids_mask[:, None] & ids_mask[:, :, None]\n"
            "out = self.scaled_dot_product_attention(q, k, v, attn_mask=None, is_causal=False)\n",
        ),
        script(
            "taken and not given on",
            "def forward(self, x, mask=None):\n    y = self.attention(self.norm(x))\n    return x + y\n",
        ),
        script(
            "rows in the place of columns",
            "mask = torch.zeros_like(input_ids).bool()\nfor n in lengths:\n    mask[:n] = True\n",
        ),
        script(
            "PyTorch's encoder",
            "emb = nn.Embedding(v, d, padding_idx=pad)\nself.enc = nn.TransformerEncoder(layer, 4)\n"
            "h = self.enc(emb(x))\n",
        ),
        script(
            "filled with 0 before the softmax",
            "scores = scores.masked_fill(mask == 0, 0)\nw = torch.softmax(scores, -1)\n",
        ),
        script("a mean over padding", "h = bert(ids, attention_mask=m).last_hidden_state\ne = h.mean(dim=1)\n"),
        case("noted", facts={"padding_mask": "computed, never used"}),
        case("not passed", facts={"attention_mask": "none", "padding_side": "left"}),
        script("scores times a mask", "scores = scores * mask\nw = tf.nn.softmax(scores)\n"),
    )
    good = (
        script("scores plus a large number", "scores = scores + (1 - mask) * -1e9\nw = tf.nn.softmax(scores)\n"),
        case("zeros", facts={"attention_mask_on_padding": 0}),
        case(
            "padded with 0",
            config={"pad_token_id": 0},
            files={"a.py": "input_ids = pad_rows(a)\nattention_mask = pad_rows(b)\n"},
        ),
        case("listed", facts={"pad_token_id": 0, "input_ids": [7, 8, 0, 0, 0], "attention_mask": [1, 1, 0, 0, 0]}),
        script(
            "not given",
            "def full_mask(ids, attention_mask=None):\n"
            "    if attention_mask is None:\n        return torch.ones(ids.shape)\n",
        ),
        script(
            "causal attention",
            "attention_bias = None if free else bias\nout = sdpa(q, k, v, attn_mask=None, is_causal=True)\n",
        ),
        script(
            "taken and given on",
            "def forward(self, x, mask=None):\n    y = self.attention(self.norm(x), mask)\n    return y\n",
        ),
        script(
            "columns of each row",
            "mask = torch.zeros_like(input_ids).bool()\nfor i, n in enumerate(lengths):\n    mask[i, :n] = True\n",
        ),
        script("one row", "for n in lengths:\n    mask = torch.zeros(size)\n    mask[:n] = True\n"),
        script(
            "PyTorch's encoder with its mask",
            "emb = nn.Embedding(v, d, padding_idx=pad)\nself.enc = nn.TransformerEncoder(layer, 4)\n"
            "h = self.enc(emb(x), src_key_padding_mask=x == pad)\n",
        ),
        script(
            "filled with 0 after the softmax", "w = torch.softmax(scores, -1)\nscores = w.masked_fill(mask == 0, 0)\n"
        ),
        script(
            "a mean without padding",
            "h = bert(ids, attention_mask=m).last_hidden_state\n"
            "e = (h * m[..., None]).sum(1) / m.sum(1)[:, None]\nc = h.mean(dim=-1)\n",
        ),
        case("a mask of the loss", facts={"loss_mask": "never used"}),
        case("spread out", files={"a.py": "x = tok(t, padding=True)\nmodel.generate(**x)\n"}),
        case("causal, right", facts={"attention_mask": "none", "padding_side": "right", "attention": "causal"}),
    )
    not_enough = (case("not measured"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Silent where a causal mask hides right padding anyway."""
        if _harmless(run):
            return
        for name in ON_PADDING:
            found = known(run, name)
            if found is not None and (is_on(found.plain) and (number(found.plain) or 1.0) > 0):
                yield self._found("padding positions have attention mask 1", found.evidence)
                return
        listed = _listed(run)
        if listed is not None:
            yield self._found("padding positions have attention mask 1", listed)
            return
        for code, comment in comments(run):
            if UNMASKED.search(comment) and written(plain(run, "padding_side") or "").lower() == "left":
                yield self._found(
                    "no attention mask is passed to the model", Evidence(text=comment, source=code.source)
                )
                return
        told, bare = complaint(run, "batch", "padding", "padded"), next(unmasked(run), None)
        if bare is not None:
            sure = told is not None or "generate" in bare.text
            yield self._found("padded ids are given to the model without an attention mask", bare, 7.0 if sure else 4.0)
            return
        padded = next(padded_alike(run), None)
        if padded is not None:
            yield self._found("the mask is padded like the ids, with the padding id", padded, 6.0)
            return
        ones = next(made_of_ones(run), None)
        if ones is not None:
            yield self._found("the attention mask is made of ones for padded ids", ones)
            return
        kept = next((evidence for code in run.code for evidence in unhanded(code)), None)
        if kept is not None:
            yield self._found("a mask does not reach attention", kept, 6.5)
            return
        unused = next(_noted_unused(run), None)
        if unused is not None:
            yield self._found("a mask is made and not used", unused, 5.5)
            return
        for name in ABSENT:
            found = known(run, name)
            if found is not None and written(found.plain).lower() in ("none", "false", "missing", "no", "not passed"):
                yield self._found("no attention mask is passed to the model", found.evidence)
                return

    def _found(self, message: str, found: Evidence, bits: float = 7.0) -> Finding:
        return self.finding(
            message,
            evidence=[found],
            clues=clues(message, attention_mask_missing=bits),
            fix=Fix(summary="Pass the tokenizer's attention_mask, which is 0 on padding."),
        )


def _noted_unused(run: Run) -> Iterator[Evidence]:
    """Somebody's note that a mask is computed and not used."""
    for fact in noted(run):
        unused = any(UNUSED.search(text.lower()) for text in fact.texts)
        if unused and "mask" in fact.words and not OF_LOSS.search(fact.words):
            yield fact.evidence


def _harmless(run: Run) -> bool:
    words = " ".join(written(plain(run, n) or "") for n in ("attention", "architectures", "model_type")).lower()
    causal = any(word in words for word in DECODERS) or any("CausalLM" in c.name for c in calls(run, "from_pretrained"))
    return causal and written(plain(run, "padding_side") or "").lower() == "right"


def _listed(run: Run) -> Evidence | None:
    """A mask and ids written out side by side, with a 1 at each of several padding ids at an end."""
    pad = number(plain(run, "pad_token_id", "tokenizer.pad_token_id"))
    ids, mask = known(run, "input_ids", "input_ids[0]"), known(run, "attention_mask", "attention_mask[0]")
    if (
        pad is None
        or ids is None
        or mask is None
        or not isinstance(ids.plain, list)
        or not isinstance(mask.plain, list)
    ):
        return None
    attended = max((_attended(*row, pad) for row in _rows(ids.plain, mask.plain)), default=0)
    if attended < LEAST_PADDED:
        return None
    text = f"{mask.name} is 1 at {attended} positions whose input_ids are {pad:g}, the padding id"
    return Evidence(text=text, source=mask.value.source)


def _rows(ids: list[Any], mask: list[Any]) -> list[tuple[list[Any], list[Any]]]:
    """Rows of ids beside those of their mask; one row may be written without its batch."""
    if not any(isinstance(item, list) for item in (*ids, *mask)):
        return [(ids, mask)]
    return [(a, b) for a, b in zip(ids, mask, strict=False) if isinstance(a, list) and isinstance(b, list)]


def _attended(ids: list[Any], mask: list[Any], pad: float) -> int:
    """Padding ids at an end of a row whose mask is 1."""
    if len(ids) != len(mask):
        return 0
    ends = (zip(ids, mask, strict=True), zip(reversed(ids), reversed(mask), strict=True))
    padded = max((list(takewhile(lambda pair: number(pair[0]) == pad, end)) for end in ends), key=len)
    return 0 if len(padded) == len(ids) else sum(1 for _, kept in padded if number(kept) == 1.0)
