"""Claims of report 2."""

from __future__ import annotations

from scripts.revisited.claim import FINITE, Claim, System
from scripts.revisited.t5 import MEMORY, PLANTED, SIZES

RUNYORO = System(
    page="runyoro",
    title="Runyoro: loss 0.0, grad_norm nan, learning rate 0.0",
    symptom="Report 2: mT5-small under fp16; the run stops at its first log line.",
    target="translation",
    settings={
        "recipe": "runyoro",
        **SIZES,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "learning_rate": 5e-5,
        "warmup_steps": 100,
        "max_steps": 2000,
        "warmup_ratio": 0.0,
        "logging_nan_inf_filter": True,
    },
    caveat=PLANTED,
    claims=(
        Claim(
            of="report 2",
            says="fp16 is the cause.",
            change={"fp16": False},
            expect=FINITE,
            means="Right.",
            cause="fp16-overflow",
            steps=10,
        ),
        Claim(
            of="report 2",
            says="The learning rate was set to 0.0; a proper value brings it back.",
            change={"learning_rate": 1e-3},
            expect="learning_rate > 0",
            means="It was not: see the next line.",
            cause="lr-zero",
            steps=10,
        ),
        Claim(
            of="Holter",
            says="The 0.0 is a consequence: every step is skipped for its gradient, so the schedule never leaves its "
            "start. Without the overflow the same setting gives a rate above 0.",
            change={"fp16": False},
            expect="learning_rate > 0",
            means="One fault, three symptoms.",
            cause="fp16-overflow",
            steps=10,
        ),
        Claim(
            of="Holter",
            says="The loss of 0.0 is a NaN that the log hides.",
            change={"logging_nan_inf_filter": False},
            expect="isnan(loss)",
            means="The loss was never zero.",
            cause="nan-filter-hides-nan",
            steps=10,
        ),
        Claim(
            of="report 2",
            says="If NaN stays, a learning rate of 1e-5 helps.",
            change={"learning_rate": 1e-5},
            expect="isfinite(grad_norm)",
            means="No update has been made, so no rate can matter.",
            cause="lr-too-high",
            steps=10,
        ),
        Claim(
            of="report 2",
            says="If NaN stays, a warmup of 500 steps helps.",
            change={"warmup_steps": 500},
            expect="isfinite(grad_norm)",
            means="As with the learning rate.",
            cause="warmup-missing",
            steps=10,
        ),
        Claim(
            of="report 2",
            says="The fast tokenizer is at fault; ids from SentencePiece itself cure it.",
            change={"tokenizer": "sentencepiece"},
            expect="isfinite(grad_norm)",
            means="Where both arms saw the same rows, both tokenizers gave the same ids. Errors while loading a "
            "tokenizer are another matter, and no cause of NaN.",
            cause="tokenizer-fast-slow-mismatch",
            steps=10,
        ),
        Claim(
            of="report 2",
            says="Loading the model in 8 bits makes the training stable.",
            base={"fp16": False},
            change={"load_in_8bit": True},
            expect="crashed == 0",
            means="Without adapters the library refuses: whole-number weights have no gradient.",
            cause="quantized-without-adapter",
        ),
        Claim(of="report 2", says="Loading in full precision puts the memory under pressure.", means=MEMORY),
    ),
)
