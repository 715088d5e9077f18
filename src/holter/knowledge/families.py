"""Model families: the precision they were pre-trained in, how they fare in fp16, and where they overflow.

Only what a public source states is in the table; a family that is not listed is unknown, not safe.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

FP16_MAX = 65504.0
"""Largest finite number of IEEE 754 half precision."""


class Fp16Record(enum.Enum):
    """What is known of training or inference in fp16."""

    OVERFLOWS = "overflows"  # non-finite values reported with stock scripts, by several users or by a maintainer
    FRAGILE = "fragile"  # reported for some sizes, kernels or versions only
    WORKS = "works"  # pre-trained in fp16, or public fp16 fine-tunes are ordinary


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row.

    Attributes:
        name: family as users write it.
        pattern: regular expression matched against lower-case model names and types.
        pretrained: ``bf16``, ``fp16`` or ``fp32``; empty where no source states it.
        fp16: see `Fp16Record`.
        overflows_at: the module or operation that overflows first, empty where not known.
        source: where it is stated.
    """

    name: str
    pattern: str
    pretrained: str
    fp16: Fp16Record
    overflows_at: str
    source: str


_TRANSFORMERS = "github.com/huggingface/transformers"
_T5_FFN = "the feed-forward output projection (DenseReluDense.wo) and the residual stream it feeds"

FAMILIES: tuple[Family, ...] = (
    Family(
        name="mT5",
        pattern=r"(?<![a-z])(mt5|mt0)(?![a-z])",
        pretrained="bf16",
        fp16=Fp16Record.OVERFLOWS,
        overflows_at=_T5_FFN,
        source=f"{_TRANSFORMERS}/pull/10956; {_TRANSFORMERS}/issues/9295",
    ),
    Family(
        name="UMT5",
        pattern=r"(?<![a-z])umt5",
        pretrained="bf16",
        fp16=Fp16Record.OVERFLOWS,
        overflows_at=_T5_FFN,
        source=f"{_TRANSFORMERS}/issues/4586",
    ),
    Family(
        name="ByT5",
        pattern=r"(?<![a-z])byt5",
        pretrained="bf16",
        fp16=Fp16Record.OVERFLOWS,
        overflows_at=_T5_FFN,
        source="github.com/google-research/text-to-text-transfer-transformer/issues/539 (same code base and layers)",
    ),
    Family(
        name="Flan-T5",
        pattern=r"flan[-_]?t5|flan[-_]?alpaca|flan[-_]?ul2|(?<![a-z])ul2",
        pretrained="bf16",
        fp16=Fp16Record.OVERFLOWS,
        overflows_at=_T5_FFN,
        source=f"{_TRANSFORMERS}/issues/23918; github.com/declare-lab/tango/issues/17",
    ),
    Family(
        name="LongT5",
        pattern=r"long[-_]?t5",
        pretrained="bf16",
        fp16=Fp16Record.OVERFLOWS,
        overflows_at="the residual sum after the feed-forward layer",
        source=f"{_TRANSFORMERS}/issues/17978; {_TRANSFORMERS}/pull/19229",
    ),
    Family(
        name="T5 (small)",
        pattern=r"(?<![a-z0-9])t5[-_]small",
        pretrained="bf16",
        fp16=Fp16Record.FRAGILE,
        overflows_at=_T5_FFN,
        source=f"{_TRANSFORMERS}/issues/23918 (small trains where large does not)",
    ),
    Family(
        name="T5",
        pattern=r"(?<![a-z0-9])t5(?![a-z0-9])|t5[-_]?v1|(?<![a-z])code?t5|t5for",
        pretrained="bf16",
        fp16=Fp16Record.OVERFLOWS,
        overflows_at=_T5_FFN,
        source=f"github.com/google-research/text-to-text-transfer-transformer/issues/539; {_TRANSFORMERS}/issues/5651",
    ),
    Family(
        name="Pegasus",
        pattern=r"pegasus",
        pretrained="bf16",
        fp16=Fp16Record.OVERFLOWS,
        overflows_at="the residual sum of an encoder layer",
        source=f"{_TRANSFORMERS}/issues/12225; discuss.huggingface.co/t/5315",
    ),
    Family(
        name="mDeBERTa-v3",
        pattern=r"mdeberta",
        pretrained="fp32",
        fp16=Fp16Record.OVERFLOWS,
        overflows_at="the scaled attention scores (fixed in transformers 4.31)",
        source=f"github.com/microsoft/DeBERTa/issues/77; {_TRANSFORMERS}/pull/24116",
    ),
    Family(
        name="DeBERTa-v2/v3",
        pattern=r"deberta[-_]?v[23]",
        pretrained="",
        fp16=Fp16Record.FRAGILE,
        overflows_at="the scaled attention scores",
        source=f"{_TRANSFORMERS}/pull/24116",
    ),
    Family(
        name="Gemma 3",
        pattern=r"gemma[-_]?(3|4)",
        pretrained="bf16",
        fp16=Fp16Record.OVERFLOWS,
        overflows_at="the residual stream, since embeddings are scaled by sqrt(hidden_size)",
        source=f"{_TRANSFORMERS}/issues/36822; {_TRANSFORMERS}/pull/37226",
    ),
    Family(
        name="Qwen2 / Qwen2.5",
        pattern=r"qwen[-_]?2",
        pretrained="bf16",
        fp16=Fp16Record.FRAGILE,
        overflows_at="the attention scores of the eager kernel and the hidden state of the last layers",
        source=f"github.com/QwenLM/Qwen3/issues/868; {_TRANSFORMERS}/pull/33317",
    ),
    Family(
        name="Phi-2",
        pattern=r"phi[-_]?2",
        pretrained="fp16",
        fp16=Fp16Record.FRAGILE,
        overflows_at="the attention scores",
        source=f"{_TRANSFORMERS}/pull/28673",
    ),
    Family(
        name="GPT-Neo",
        pattern=r"gpt[-_]?neo(?!x|-?x)",
        pretrained="bf16",
        fp16=Fp16Record.FRAGILE,
        overflows_at="",
        source=f"{_TRANSFORMERS}/issues/11076; discuss.huggingface.co/t/5671 (some checkpoints bf16, some fp32)",
    ),
    Family(
        name="GPT-NeoX",
        pattern=r"gpt[-_]?neox",
        pretrained="fp16",
        fp16=Fp16Record.WORKS,
        overflows_at="",
        source="discuss.huggingface.co/t/5671",
    ),
    Family(
        name="Longformer / LED",
        pattern=r"longformer|(?<![a-z])led[-_]",
        pretrained="fp16",
        fp16=Fp16Record.WORKS,
        overflows_at="",
        source="discuss.huggingface.co/t/5671",
    ),
    Family(
        name="M2M-100",
        pattern=r"m2m[-_]?100",
        pretrained="fp16",
        fp16=Fp16Record.WORKS,
        overflows_at="",
        source="discuss.huggingface.co/t/5671",
    ),
)


def family_of(*names: str | None) -> Family | None:
    """The family of a model, the most specific row first; None when no source says anything about it.

    Args:
        names: any of checkpoint name, model type, class of the head; empty ones are passed over.
    """
    return _first(name.lower() for name in names if name)


def _first(names: Iterable[str]) -> Family | None:
    wanted = list(names)
    return next((row for row in FAMILIES if any(re.search(row.pattern, name) for name in wanted)), None)
