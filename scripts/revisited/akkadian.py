"""Claims of report 1."""

from __future__ import annotations

from scripts.revisited.claim import FINITE, Claim, System
from scripts.revisited.t5 import MEMORY, PLANTED, SIZES

AKKADIAN = System(
    page="akkadian",
    title="Akkadian: a loss of millions, then 0.0, and NaN in every evaluation",
    symptom="Report 1: ByT5 under fp16 in a notebook, while the script beside it has fp16 off.",
    target="translation",
    settings={
        "recipe": "akkadian",
        **SIZES,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4,
        "learning_rate": 3e-4,
        "warmup_ratio": 0.05,
        "max_source_length": 512,
        "max_target_length": 512,
    },
    caveat=PLANTED,
    claims=(
        Claim(
            of="report 1",
            says="fp16 is the cause.",
            change={"fp16": False},
            expect=FINITE,
            means="Right, and by itself enough.",
            cause="fp16-overflow",
        ),
        Claim(
            of="report 1",
            says="bf16 holds where fp16 overflows.",
            change={"fp16": False, "bf16": True},
            expect=FINITE,
            means="Right: bf16 has the exponent of fp32.",
            cause="fp16-overflow",
        ),
        Claim(
            of="report 1",
            says="Sources and targets of 256 tokens instead of 512 prevent the overflow.",
            change={"max_source_length": 256, "max_target_length": 256},
            expect=FINITE,
            means="It costs context and cures nothing.",
        ),
        Claim(
            of="report 1",
            says="A learning rate of 1e-4 instead of 3e-4 is needed for stability.",
            change={"learning_rate": 1e-4},
            expect=FINITE,
            means="The first forward pass overflows before any update.",
            cause="lr-too-high",
        ),
        Claim(
            of="report 1",
            says="A warmup of 10 % instead of 5 % is needed for stability.",
            change={"warmup_ratio": 0.1},
            expect=FINITE,
            means="As with the learning rate.",
            cause="warmup-missing",
        ),
        Claim(
            of="report 1",
            says="All advice except the precision: shorter texts, lower rate and longer warmup together.",
            change={"max_source_length": 256, "max_target_length": 256, "learning_rate": 1e-4, "warmup_ratio": 0.1},
            expect=FINITE,
            means="The fix is the precision alone; the rest makes the model worse for nothing.",
        ),
        Claim(
            of="report 1",
            says="Long byte sequences enlarge the attention scores: 512 instead of 256 bytes give larger ones.",
            base={"fp16": False, "max_source_length": 256, "max_target_length": 256},
            change={"max_source_length": 512, "max_target_length": 512},
            expect="max(attention_score) > 1.5 * max(base.attention_score)",
            means="A score is a product of two vectors of one head; the length of the text is not in it.",
        ),
        Claim(
            of="Holter",
            says="What overflows is the output of the feed-forward block: with that back in range, fp16 is finite.",
            change={"overflows": False},
            expect=FINITE,
            means="In this planted case. Attention is the same in both arms.",
            cause="fp16-overflow",
        ),
        Claim(
            of="report 1",
            says="The loss of 0.0 is a real zero, from vanished gradients.",
            base={"logging_nan_inf_filter": True},
            change={"logging_nan_inf_filter": False},
            expect="abs(loss) < 0.001",
            means="The Trainer keeps NaN out of the mean it logs. Without the filter the same step logs what it is.",
            cause="nan-filter-hides-nan",
        ),
        Claim(of="report 1", says="fp32 needs twice the memory of fp16.", means=MEMORY),
    ),
)
