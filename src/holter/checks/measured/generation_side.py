"""TOK106 generation-padded-right."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, plain
from holter.finding import Basis, Change, Clue, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

DECODERS = ("ForCausalLM", "LMHeadModel")


class GenerationPaddedRight(Check):
    """A decoder generates from prompts padded on the right.

    What it looks for: predict_with_generate with a decoder-only model whose tokenizer pads on the right.

    Why it hurts: a decoder continues from the last position; after padding on the right that is a padding
    token, so generated text and its metrics are poor.

    How to fix it: set tokenizer.padding_side = "left" for generation; training itself is indifferent.

    When to ignore it: when all prompts of a batch have one length.

    Threshold: none; encoder-decoder models generate from their own start token and may pad on either side.

    Sources: transformers, text generation tutorial: padding side.
    """

    code = "TOK106"
    name = "generation-padded-right"
    title = "A decoder generates from prompts padded on the right"
    severity = Severity.ERROR
    stage = Stage.EVAL
    needs = Needs(facts=("tokenizer.padding_side",), config=("predict_with_generate",))

    bad = (
        case(
            "a decoder",
            facts={"tokenizer.padding_side": "right"},
            config={"predict_with_generate": True, "architectures": "Qwen3ForCausalLM"},
        ),
    )
    good = (
        case(
            "left",
            facts={"tokenizer.padding_side": "left"},
            config={"predict_with_generate": True, "architectures": "Qwen3ForCausalLM"},
        ),
        case(
            "an encoder-decoder",
            facts={"tokenizer.padding_side": "right"},
            config={
                "predict_with_generate": True,
                "is_encoder_decoder": True,
                "architectures": "T5ForConditionalGeneration",
            },
        ),
    )
    not_enough = (case("nothing generates", facts={"tokenizer.padding_side": "right"}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        head = str(run.get("architectures", ""))
        decodes = head.endswith(DECODERS) and not run.get("is_encoder_decoder")
        if (
            not decodes
            or run.get("predict_with_generate") is not True
            or plain(run, "tokenizer.padding_side") != "right"
        ):
            return
        yield self.finding(
            f"{head} generates during evaluation while prompts are padded on the right",
            evidence=[evidence(run, "tokenizer.padding_side")],
            clues=[Clue(cause="padding-side", bits=7.0, why="read from the tokenizer")],
            fix=Fix(summary="pad on the left", changes=(Change(key="padding_side", old="right", new="left"),)),
            basis=Basis.MEASURED,
        )
