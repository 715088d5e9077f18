"""MOD004 quantized-weights-refused."""

from __future__ import annotations

from holter.checks.base import case
from holter.checks.messages import MessageCheck, phrase, said
from holter.finding import Fix, Severity
from holter.stages import Stage


class QuantizedWeightsRefused(MessageCheck):
    """What it looks for
        A trainer refusing to train weights that are held in 8 or 4 bits and carry no adapter.

    Why it hurts
        Rounded integer weights have no gradient. Only parts in floating point, such as LoRA adapters, can be trained.

    How to fix it
        ``prepare_model_for_kbit_training`` and ``get_peft_model`` before the model goes to the trainer; or load
        without quantisation. After ``merge_and_unload`` no adapter is left.

    When to ignore it
        Never: the run cannot go on.

    Threshold
        None: the wording is that of the libraries.

    Sources
        Messages of transformers and PyTorch.
    """

    code = "MOD004"
    name = "quantized-weights-refused"
    title = "Quantised weights without adapters cannot be trained"
    severity = Severity.ERROR
    stage = Stage.BACKWARD
    summary = "the weights are quantised and no trainable adapter is attached"
    cure = Fix(summary="Attach adapters with get_peft_model before making the trainer, or load without quantisation.")
    phrases = (
        phrase("cannot perform fine-tuning on purely quantized models", quantized_without_adapter=10),
        phrase("quantized * please attach trainable adapters", quantized_without_adapter=9),
        phrase("quantized * but that quantization method do not support training", quantized_without_adapter=6),
        phrase("quantization method * not support training", quantized_without_adapter=5),
        phrase("model you want to train is loaded in 8-bit precision", quantized_without_adapter=6),
        phrase("only tensors of floating point * can require gradients", quantized_without_adapter=6),
        phrase("only tensors of floating point dtype can require gradients", quantized_without_adapter=6),
    )
    bad = (case("refused", events=[said("ValueError: You cannot perform fine-tuning on purely quantized models.")]),)
    good = (
        case("quantised", events=[said("Loading the model in 8-bit", "message")]),
        case("moved", events=[said("ValueError: `.to` is not supported for `8-bit` bitsandbytes models")]),
    )
    not_enough = (case("nothing was said"),)
