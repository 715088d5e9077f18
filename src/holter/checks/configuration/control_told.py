"""CFG042 works-under-another-condition."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from holter.checks.base import Check, Needs, case, clues
from holter.checks.configuration._outcomes import RISE
from holter.checks.noted import Noted, noted
from holter.checks.symptoms import nonfinite
from holter.checks.verdicts import tells_bad
from holter.finding import Evidence, Finding, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

FINE = regex(
    r"^(?:it |all |is |are |was |were |stays? |remains? |trains? |runs? |gives? )*"
    r"(?:finite|fine|normal\w*|stable|ok(?:ay)?|correct\w*|good|works?|worked|learns?|as (?:expected|trained)"
    r"|no (?:nan|problem|overflow|issue)s?\b"
    r"|(?:loss|accuracy|perplexity|ppl|wer|bleu|f1|score)(?: is| of| at)? \d[\d.]*"
    r"(?:,? (?:and )?falling| (?:after|at) .*)?$"
    r"|converges?|reasonable|right|un\w*affected|not affected|answers as (?:trained|expected)|falls|decreases)\b"
)
"""Values that tell that it went well."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """A condition under which something works.

    Attributes:
        named: words of the name.
        why: one clause that completes "speaks for it, since ...".
        bits: causes, with ``_`` for ``-``.
    """

    named: re.Pattern[str]
    why: str
    bits: dict[str, float]


CONTROLS = (
    Control(
        named=regex(
            r"\b(?:earlier|older|old|previous|prior|newer|other|another|last) (?:\w+ )?(?:versions?|releases?)\b"
            r"|\b(?:transformers|(?:py)?torch|peft|trl|accelerate|deepspeed|bitsandbytes|mlx|unsloth|tensorflow|tf|keras"
            r"|(?:pytorch )?lightning|jax|flax|cuda|cudnn|triton|flash attn|xformers|mmcv|mmdet|detectron2|datasets"
            r"|tokenizers|vllm|megatron|apex|nccl|driver)(?: version)? v?(?:\d+ ?)+$"
            r"|\bdowngrad\w+|\bafter upgrad\w+|\bnightly\b|\bmaster branch\b|\bprevious commit\b|\brollback\b"
        ),
        why="another version does it right",
        bits={"framework_bug": 6.5, "attention_kernel_bug": 1.0},
    ),
    Control(
        named=regex(
            r"\b(?:small|short|smaller|shorter|tiny|other|larger|bigger) (?:shapes?|sequences?|inputs?|sizes?|tensors?|"
            r"lengths?|heads?|head dims?|head sizes?|blocks?)\b"
        ),
        why="other shapes come out right, and kernels are chosen by shape",
        bits={"attention_kernel_bug": 4.0, "framework_bug": 2.0, "fp16_overflow": 1.0},
    ),
    Control(
        named=regex(r"\b(?:eager|without flash|no flash|math kernel|sdpa|without sdpa|without xformers)\b"),
        why="another implementation of attention does it right",
        bits={"attention_kernel_bug": 6.0, "framework_bug": 1.0},
    ),
    Control(
        named=regex(
            r"\b(?:smaller|small|base|other|tiny) models?\b.{0,20}"
            r"\b(?:same|rate|lr|settings?|config\w*)\b"
        ),
        why="larger models need lower rates",
        bits={"lr_too_high": 5.0, "warmup_missing": 2.0, "grad_clip_disabled": 1.5, "seed_instability": 1.0},
    ),
    Control(
        named=regex(r"\b(?:lower|smaller|reduced|decreased) (?:learning rate|lr|rate)\b"),
        why="a lower rate works",
        bits={"lr_too_high": 6.5},
    ),
    Control(
        named=regex(r"\b(?:fp32|float32|f32|full precision|bf16|bfloat16|without (?:amp|fp16|autocast)|no amp)\b"),
        why="a wider format works",
        bits={"fp16_overflow": 5.0, "low_precision_weights": 1.5, "loss_formula_instability": 1.0},
    ),
    Control(
        named=regex(r"\b(?:un|not |non |without |no )quanti[sz]\w*|\b(?:16|32) ?bit (?:base|model|weights)\b"),
        why="weights that are not quantised do it right",
        bits={"quantized_precision_mismatch": 6.0, "framework_bug": 1.0},
    ),
    Control(
        named=regex(
            r"\b(?:without padding|no padding|unpadded|batch(?: size)? (?:of )?(?:1|one)"
            r"|alone|single (?:row|prompt|sample))\b"
        ),
        why="a row alone comes out right",
        bits={
            "attention_mask_missing": 4.0,
            "padding_side": 4.0,
            "fully_masked_attention_nan": 2.5,
            "pad_token_wrong": 1.5,
        },
    ),
    Control(
        named=regex(
            r"\b(?:one|single|1) (?:gpu|device|process|card|rank)\b"
            r"|\bwithout (?:ddp|fsdp|deepspeed|zero)\b"
        ),
        why="one process does it right",
        bits={
            "framework_bug": 3.5,
            "ddp_no_gradient_sync": 3.0,
            "ddp_duplicate_data": 2.0,
            "grad_accum_loss_scale": 1.5,
        },
    ),
    Control(
        named=regex(r"\b(?:load adapter|adapter loaded|unmerged|before merging|before merge|without merging)\b"),
        why="the adapter beside its base works, merged into it does not",
        bits={"quantized_precision_mismatch": 4.5, "weights_loaded_wrong": 4.0, "head_not_trained_or_saved": 1.0},
    ),
    Control(
        named=regex(
            r"\bzero ?(?:stage )?[0-3]\b|\b(?:fsdp\d?|megatron|axolotl|llama factory|unsloth|vllm|llamafactory|trl)\b"
            r"|\b(?:other|another|different) (?:trainer|engine|framework|backend|library|codebase|implementation|code"
            r"|training (?:code|script|loop)|repo\w*|launcher|strategy)\b"
            r"|\b(?:original|reference|official|upstream|hf|huggingface|native|plain|own) (?:\w+ )?"
            r"(?:implementation|code|repo\w*|script|trainer|loop)\b"
            r"|\b(?:tensorflow|keras|jax|torch|pytorch|mlx|paddle|flax) (?:backend|implementation|version|port)\b"
        ),
        why="another engine or implementation does it right",
        bits={"framework_bug": 5.5, "attention_kernel_bug": 1.0, "grad_accum_loss_scale": 1.0},
    ),
    Control(
        named=regex(
            r"\b(?:[ahv]100|h200|b200|gb10|l40s?|l4|t4|p100|v100|a10g?|a[46]000|mi\d{3}x?|rtx|tpu|mps)\b"
            r"|\bcpu\b|\b(?:other|another) (?:gpu|card|device|machine|backend)\b"
        ),
        why="another device does it right",
        bits={"framework_bug": 4.0, "attention_kernel_bug": 3.5, "fp16_overflow": 1.0},
    ),
)


class WorksUnderAnotherCondition(Check):
    """What it looks for
        A note that the same thing goes well under one other condition (an earlier version, another kernel, a lower
        rate, a wider format, a row alone, one process), beside a NaN or a note that it does not here.

    Why it hurts
        It does not; it is a comparison that somebody already made, and what differs is the suspect.

    How to fix it
        Take the condition that works meanwhile.

    When to ignore it
        When more than that one thing differs.

    Threshold
        None: both are told in words.

    Sources
        Mill's method of difference.
    """

    code = "CFG042"
    name = "works-under-another-condition"
    title = "It works under another condition"
    severity = Severity.WARNING
    stage = Stage.LOG
    needs = Needs(any_of=(("facts",),))
    bad = (
        case(
            "a loss on another card", facts={"same_script_on_a100": "loss 2.4 at step 20"}, series={"loss": [11.3] * 3}
        ),
        case("other shapes", facts={"output": "nan", "small_shapes": "fine"}),
        case("another engine", facts={"grad_norm": float("nan"), "zero_stage_3": "normal"}),
        case("a version by its number", facts={"loss": float("nan"), "pytorch_1.3": "works"}),
        case("a version", facts={"loss": float("nan"), "earlier_version": "finite"}),
        case(
            "smaller models",
            facts={"loss": "diverges soon", "smaller_models_same_rate": "stable"},
        ),
        case("not quantised", facts={"loss": float("nan"), "unquantised_model_same_script": "loss 1.31"}),
        case("unmerged", facts={"merged": "as if never trained", "load_adapter": "answers as trained"}),
    )
    good = (
        case("all is well", facts={"loss": "falls", "earlier_version": "finite"}),
        case("as low here", facts={"same_script_on_a100": "loss 2.4 at step 20"}, series={"loss": [3.1, 2.4]}),
        case("bad there as well", facts={"loss": float("nan"), "earlier_version": "nan too"}),
        case("no condition", facts={"loss": float("nan"), "accuracy": "fine"}),
    )
    not_enough = (case("no facts", config={"fp16": True}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The conditions that are told to work, one of each kind."""
        facts, told = list(noted(run)), set[str]()
        for fact in facts:
            control = next((c for c in CONTROLS if c.named.search(fact.words)), None)
            fine = isinstance(fact.value, str) and FINE.search(fact.value.lower().strip()) is not None
            symptom = _symptom(run, facts, fact) if control is not None and fine else None
            if control is not None and symptom is not None and control.why not in told and len(told) < MOST:
                told.add(control.why)
                yield self.finding(
                    f"{fact.evidence.text}, while {symptom.text}: {control.why}",
                    evidence=[fact.evidence, symptom],
                    clues=clues(control.why, **control.bits),
                )


MOST = 2
"""Conditions of one run that count: a third adds little."""
AS_BEFORE = regex(r"\b(?:as if|like) (?:never|not|un|before|the base)")
"""Words for a model that training did not change."""


def _symptom(run: Run, facts: list[Noted], control: Noted) -> Evidence | None:
    """What is wrong otherwise: a NaN, or another note that tells so."""
    for fact in facts:
        told = fact is not control and isinstance(fact.value, str)
        if told and (tells_bad(str(fact.value)) or AS_BEFORE.search(str(fact.value).lower())):
            return fact.evidence
    return nonfinite(run) or _far_above(run, control)


TOLD_LOSS = regex(r"^loss(?: is| of| at)? (\d[\d.]*\d)")


def _far_above(run: Run, control: Noted) -> Evidence | None:
    """A training loss that ends far above the one told of the other condition."""
    told = TOLD_LOSS.match(str(control.value).lower().strip())
    loss = run.series.get("loss")
    if told is None or loss is None or not len(loss) or loss[-1] < RISE * float(told[1]):
        return None
    return Evidence(text=f"loss is {loss[-1]:g} here", source=loss.place(len(loss) - 1), value=loss[-1])
