"""Trainers for `reports_revisited.py`: the small recipes, with what the five reports changed and the recipes refuse.

Each function is a ``module:function`` target of `holter.experiments`: settings in, Trainer out.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from holter.recipes import build_trainer

OVERFLOW_SCALE = 2.0**20
"""The feed-forward output weights are multiplied by it. Fresh weights give outputs near 1; trained T5 checkpoints reach
66,246 (a public report of t5-base), and the power of two is the least that carries every batch here past 65,504."""


def account_tax(settings: dict[str, Any]) -> Any:
    """The classifier; also takes ``model_accepts_loss_kwargs``, ``pad_to_multiple_of``, ``pad_token_id``
    (``eos`` or ``none``) and ``layers_as_written`` (negative layers reach PEFT).
    """
    _one_thread()
    own = _take(settings, "model_accepts_loss_kwargs", "pad_to_multiple_of", "pad_token_id", "layers_as_written")
    if own.get("layers_as_written"):
        from holter.recipes import adapters

        adapters.resolve_layers = lambda layers, count: list(layers)
    trainer = build_trainer("account-tax", overrides=settings)
    _pad(trainer, own.get("pad_token_id"))
    if "pad_token_id" in own or "model_pad_token_id" in settings:
        trainer.processing_class = None  # a Trainer that knows the tokenizer overwrites the model's ids with its own
    if "model_accepts_loss_kwargs" in own:
        trainer.model_accepts_loss_kwargs = own["model_accepts_loss_kwargs"]
    if own.get("pad_to_multiple_of"):
        trainer.data_collator.pad_to_multiple_of = own["pad_to_multiple_of"]
    trainer.add_callback(_Movement(trainer.model))
    return trainer


def translation(settings: dict[str, Any]) -> Any:
    """A T5 or mT5 that overflows fp16; ``recipe`` names it. Also takes ``fp16`` and ``bf16`` (autocast on this CPU,
    the first with a gradient scaler), ``tokenizer`` (``sentencepiece``) and ``load_in_8bit`` (see `quantised`).
    """
    _one_thread()
    own = _take(settings, "recipe", "fp16", "bf16", "tokenizer", "load_in_8bit", "overflows")
    trainer = build_trainer(own["recipe"], overrides=settings)
    if own.get("load_in_8bit"):
        return quantised(trainer)
    _let_the_library_step(trainer)
    if own.get("overflows", True):
        _overflow(trainer.model)
    if own.get("tokenizer") == "sentencepiece":
        _encode_again(trainer)
    for precision in ("fp16", "bf16"):
        if own.get(precision):
            _autocast(trainer, precision)
    trainer.add_callback(_Scores(trainer.model))
    return trainer


def quantised(trainer: Any) -> Any:
    """The same model loaded with 8-bit weights and without adapters, in a Trainer of the library."""
    from transformers import AutoModelForSeq2SeqLM, BitsAndBytesConfig

    with tempfile.TemporaryDirectory() as folder:
        trainer.model.save_pretrained(folder)
        model = AutoModelForSeq2SeqLM.from_pretrained(
            folder, quantization_config=BitsAndBytesConfig(load_in_8bit=True), device_map={"": "cpu"}
        )
    return Trainer(
        model=model, args=trainer.args, train_dataset=trainer.train_dataset, data_collator=trainer.data_collator
    )


def _one_thread() -> None:
    torch.set_num_threads(1)


def _take(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: settings.pop(name) for name in names if name in settings}


def _pad(trainer: Any, choice: str | None) -> None:
    tokenizer, config = trainer.processing_class, trainer.model.config
    if choice == "eos":
        tokenizer.pad_token = tokenizer.eos_token
        config.pad_token_id = tokenizer.eos_token_id
    elif choice == "none":
        config.pad_token_id = None


def _let_the_library_step(trainer: Any) -> None:
    """The recipe's Trainer stops at the first loss that is not finite; the reports' went on."""
    trainer.training_step = lambda *args, **kwargs: Trainer.training_step(trainer, *args, **kwargs)


def _overflow(model: Any) -> None:
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("wo.weight"):
                weight.mul_(OVERFLOW_SCALE)


def _autocast(trainer: Any, precision: str) -> None:
    """What the Trainer sets up on a GPU for ``fp16`` or ``bf16``: autocast, and for fp16 a gradient scaler."""
    accelerator = trainer.accelerator
    accelerator.state._mixed_precision = precision
    accelerator.native_amp = True
    if precision == "fp16":
        accelerator.scaler = torch.amp.GradScaler("cpu")


def _encode_again(trainer: Any) -> None:
    """Encode every row with the sentencepiece library instead of the fast tokenizer, from the same pieces."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as messages

    tokenizer = trainer.processing_class
    proto = messages.ModelProto()
    for index, (piece, score) in enumerate(json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"]):
        kind = {2: messages.ModelProto.SentencePiece.UNKNOWN}.get(index, messages.ModelProto.SentencePiece.NORMAL)
        proto.pieces.add(piece=piece, score=score, type=kind if index > 1 else 3)
    proto.trainer_spec.model_type = messages.TrainerSpec.UNIGRAM
    proto.normalizer_spec.name = "identity"
    encoder = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())

    def again(row: Mapping[str, Any]) -> dict[str, list[int]]:
        texts = {side: tokenizer.decode(row[side], skip_special_tokens=True) for side in ("input_ids", "labels")}
        ids = {side: [*encoder.encode(text), tokenizer.eos_token_id] for side, text in texts.items()}
        return {**ids, "attention_mask": [1] * len(ids["input_ids"])}

    trainer.train_dataset = trainer.train_dataset.map(again)


class _Movement(TrainerCallback):  # type: ignore[misc]
    """Logs ``weight_change``: how far the trained weights are from where they started (Euclidean norm)."""

    def __init__(self, model: Any) -> None:
        self.start = {name: weight.detach().clone() for name, weight in _trained(model)}
        self.model = model

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        squares = [(weight.detach() - self.start[name]).pow(2).sum() for name, weight in _trained(self.model)]
        state.log_history[-1]["weight_change"] = float(torch.stack(squares).sum().sqrt())


def _trained(model: Any) -> list[tuple[str, Any]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


class _Scores(TrainerCallback):  # type: ignore[misc]
    """Logs ``attention_score``: the largest magnitude of a query-key product in the first encoder layer, in fp32."""

    def __init__(self, model: Any) -> None:
        attention = model.encoder.block[0].layer[0].SelfAttention
        self.heads, self.largest = attention.n_heads, 0.0
        self.seen: dict[str, Any] = {}
        attention.q.register_forward_hook(lambda module, given, out: self.seen.update(q=out))
        attention.k.register_forward_hook(lambda module, given, out: self._measure(out))

    def _measure(self, keys: Any) -> None:
        rows, length = keys.shape[:2]
        q, k = (x.detach().float().view(rows, length, self.heads, -1).transpose(1, 2) for x in (self.seen["q"], keys))
        self.largest = max(self.largest, float((q @ k.transpose(2, 3)).abs().max()))

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.log_history[-1]["attention_score"] = self.largest
        self.largest = 0.0
