"""TOK005 left-padding-gives-nan."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.context import Compute, precision
from holter.checks.look import call_text, known, plain, switched_on, written
from holter.checks.messages import QUOTE_LENGTH
from holter.checks.noted import noted
from holter.checks.symptoms import broken, nonfinite, not_finite_anywhere, number, numbers
from holter.checks.tokens._hidden_rows import hidden_row
from holter.finding import Change, Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

MINUS_INFINITY = regex(
    r"(?<![\w.'\"])-inf\b|=['\"]-inf['\"]|float\(['\"]-inf['\"]\)|-\s*(?:math|np|torch|numpy)\.inf\b|-float\(['\"]inf['\"]\)"
)
NAN_PLACES = ("first_nan_module", "first_nan", "nan_module", "first_bad_module", "first_nonfinite_module", "module")
ATTENTION = regex(r"attn|attention|softmax|scores", re.I)

HIDES = regex(r"hides|covers all|all (?:keys|positions|tokens)|no visible|everything|first token|start_token")

MASKED_ROWS = ("fully_masked_rows", "rows_without_visible_key", "all_masked_rows", "all_pad_rows", "all_padding_rows")

SMALLEST_HALF = -65504.0
"""The smallest number of float16; bfloat16 and float32 go down to -3.4e38."""

SUM = regex(r"\b(?:sum|total|added|combined|plus|mask)\b")

ROW_SUMS = regex(r"attention_mask\w*[._](?:sum|length|count)|(?:visible|attended)_(?:keys|tokens)\w*", re.I)


class LeftPaddingGivesNan(Check):
    """What it looks for
        Padding on the left in half precision or with a fused kernel, beside a NaN; or measured rows of the attention
        mask in which no key is visible.

    Why it hurts
        The first positions of a left-padded row see nothing but padding. A softmax over nothing is 0/0, or, with two
        masks added, minus infinity less minus infinity: NaN, which the next layer spreads over the whole row.

    How to fix it
        Pad on the right for training; or a dtype or kernel that leaves such rows finite (``eager``, bf16).

    When to ignore it
        When the NaN stays after padding on the right.

    Threshold
        None: it takes the NaN, or a measured row.

    Sources
        Discussions of fully masked rows in PyTorch's scaled_dot_product_attention and in transformers.
    """

    code = "TOK005"
    name = "left-padding-gives-nan"
    title = "Rows of the attention mask with no visible key"
    severity = Severity.ERROR
    stage = Stage.FORWARD
    needs = Needs(
        any_of=(
            ("padding_side",),
            ("tokenizer.padding_side",),
            ("code",),
            ("facts",),
            ("decoder_padding_mask",),
            ("attention_mask",),
            *((name,) for name in MASKED_ROWS),
        )
    )
    bad = (
        case("nan", config={"padding_side": "left", "torch_dtype": "float16"}, facts={"loss": float("nan")}),
        case("zero stands for nan", config={"padding_side": "left", "fp16": True}, series={"loss": [0.0, 0.0]}),
        case("measured", facts={"fully_masked_rows": 12}),
        case("two masks", facts={"causal_mask": -3.4e38, "padding_mask": -3.4e38, "sum_of_masks": float("-inf")}),
        case(
            "written out",
            facts={"mask": [[1, 1, 1], [0, 0, 0]], "output": "nan"},
        ),
        script(
            "in a small program",
            "y = torch.tensor([[0, 0], [1, 0], [1, 1]]).bool()\nout = model(x, src_key_padding_mask=y)\n# out is nan\n",
        ),
        case("counted", facts={"attention_mask.sum(-1)": [9, 0, 7]}),
    )
    good = (
        case(
            "a causal mask written out",
            facts={"mask": [[True, False, False], [True, True, False], [True, True, True]], "output": "nan"},
        ),
        case(
            "a causal mask with minus infinity",
            files={"a.py": "mask = torch.triu(torch.full((n, n), float('-inf')), diagonal=1)\n"},
            facts={"loss": "nan"},
        ),
        case("right", config={"padding_side": "right", "torch_dtype": "float16"}, facts={"loss": float("nan")}),
        case("two masks, joined", facts={"causal_mask": -3.4e38, "padding_mask": -3.4e38, "sum_of_masks": -3.4e38}),
        case("left in bf16", config={"padding_side": "left", "bf16": True}, series={"loss": [2.0, 1.9]}),
    )
    not_enough = (case("side not said", config={"fp16": True}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Measured rows, else the combination of settings with the NaN."""
        rows = known(run, *MASKED_ROWS)
        if rows is not None and (number(rows.plain) or 0) > 0:
            yield self.finding(
                f"{written(rows.plain)} query rows see no key",
                evidence=[rows.evidence],
                clues=clues("query rows without a visible key", fully_masked_attention_nan=8, padding_side=2),
            )
            return
        counted = next(_empty_rows(run), None)
        if counted is not None:
            yield self.finding(
                "a row of the attention mask holds nothing but zeros",
                evidence=[counted],
                clues=clues("a row without a visible key", fully_masked_attention_nan=6.5, padding_side=1, bad_batch=1),
            )
            return
        hidden, spoilt = hidden_row(run), not_finite_anywhere(run)
        if hidden is not None and spoilt is not None:
            yield self.finding(
                "a row of the mask hides everything, and a number is not finite",
                evidence=[hidden, spoilt],
                clues=clues("a row without a visible key", fully_masked_attention_nan=6.5, padding_side=1),
            )
            return
        summed = list(_summed(run))
        if summed:
            yield self.finding(
                "two masks that each hold the smallest number add up to minus infinity",
                evidence=summed,
                clues=clues("a row of the summed masks is minus infinity everywhere", fully_masked_attention_nan=7.0),
                fix=Fix(summary="Join masks with torch.where or logical_or, so that a cell holds one minimum."),
            )
            return
        yield from self._endless_mask(run)
        side, symptom = known(run, "padding_side", "tokenizer.padding_side"), broken(run)
        said_nan = symptom is not None or "nan" in written(plain(run, "observed") or plain(run, "logits") or "").lower()
        if side is None or written(side.plain).lower() != "left":
            return
        found = precision(run)
        fused = written(plain(run, "attn_implementation") or "").lower() in ("sdpa", "flash_attention_2")
        if found.compute is not Compute.FP16 and not fused and switched_on(run, "flash_attention") is None:
            return
        evidence = [side.evidence, *([found.says] if found.says is not None else [])]
        yield self.finding(
            "batches are padded on the left in half precision or with a fused kernel",
            evidence=[*evidence, *([symptom] if symptom is not None else [])],
            clues=clues(
                "left padding leaves rows without a visible key",
                padding_side=4 if said_nan else 1.5,
                fully_masked_attention_nan=3.5 if said_nan else 1,
            ),
            severity=Severity.ERROR if said_nan else Severity.NOTE,
            fix=Fix(
                summary="Pad on the right for training, or use eager attention in bf16.",
                changes=(Change(key="padding_side", old="left", new="right"),),
            ),
        )

    def _endless_mask(self, run: Run) -> Iterator[Finding]:
        """Minus infinity in a mask, or a first NaN inside attention, beside a NaN."""
        symptom = nonfinite(run)
        if symptom is None:
            return
        masks = [*_masks(run), *_described(run)]
        place = known(run, *NAN_PLACES)
        inside = place is not None and ATTENTION.search(written(place.plain)) is not None
        if masks or inside:
            evidence = [symptom, *masks[:1], *([place.evidence] if place is not None and inside else [])]
            bits = (3.5 if masks else 0.0) + (2.5 if inside else 0.0)
            yield self.finding(
                "attention masks hold minus infinity, or the first NaN is inside attention",
                evidence=evidence,
                clues=clues("a softmax over nothing visible", fully_masked_attention_nan=bits, attention_kernel_bug=1),
            )


def _summed(run: Run) -> Iterator[Evidence]:
    """Two measured masks at the smallest number of their format, and a sum of minus infinity."""
    facts = list(noted(run))
    least = [fact for fact in facts if any(SMALLEST_HALF >= n > -math.inf for n in numbers(fact.value))]
    endless = [fact for fact in facts if SUM.search(fact.words) and -math.inf in numbers(fact.value)]
    if len(least) > 1 and endless:
        yield from (fact.evidence for fact in (*least[:2], endless[0]))


def _empty_rows(run: Run) -> Iterator[Evidence]:
    """Visible keys counted row by row, with a row of none."""
    for name, values in run.facts.items():
        counts = numbers(values[0].value) if isinstance(values[0].value, list) else []
        if ROW_SUMS.search(name) and len(counts) > 1 and min(counts) == 0.0 and max(counts) > 1.0:
            yield Evidence(text=f"{name} is {written(values[0].value)}", source=values[0].source)


CAUSAL = regex(r"triu\w*\(.*(?:(?:diagonal|k)=|, )1\)")
"""The upper triangle above the diagonal: each position still sees itself."""


def _masks(run: Run) -> Iterator[Evidence]:
    for code in run.code:
        for call in code.calls:
            text = call_text(call)
            mask = MINUS_INFINITY.search(text) and not CAUSAL.search(text)
            if mask and ("mask" in text.lower() or "fill" in call.name):
                yield Evidence(text=text[:QUOTE_LENGTH], source=call.source)


def _described(run: Run) -> Iterator[Evidence]:
    """A setting or fact about a mask that says it hides everything, or the only token there is."""
    for name in (*run.config, *run.facts):
        if "mask" not in name.lower():
            continue
        found = known(run, name)
        if found is not None and isinstance(found.plain, str) and HIDES.search(found.plain.lower()):
            yield found.evidence
