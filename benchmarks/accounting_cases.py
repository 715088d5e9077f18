"""Small Trainers of many kinds: real model classes from configurations, random data, nothing downloaded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainingArguments, set_seed

VOCAB, CLASSES, LENGTH, ROWS = 64, 7, 12, 48
BERT = {"vocab_size": VOCAB, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
BERT |= {"num_attention_heads": 2, "max_position_embeddings": 32}
QWEN = {**BERT, "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0}
T5 = {"vocab_size": VOCAB, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
GPT2 = {"vocab_size": VOCAB, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 1}
LORA_SEQUENCE = {"task_type": "SEQ_CLS", "r": 4, "target_modules": ["q_proj"], "modules_to_save": ["score"]}
LORA_CAUSAL = {"task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj"]}


def rows(kind: str, count: int = ROWS) -> list[dict[str, torch.Tensor]]:
    """Random rows of unequal length, padded to `LENGTH`; labels by kind: ``row``, ``tag``, ``token`` or ``pair``."""
    draw = torch.Generator().manual_seed(0)
    out = []
    for _ in range(count):
        length = int(torch.randint(4, LENGTH + 1, (1,), generator=draw))
        ids = torch.randint(3, VOCAB, (LENGTH,), generator=draw)
        mask = (torch.arange(LENGTH) < length).long()
        ids = torch.where(mask.bool(), ids, 0)
        labels = {
            "row": torch.randint(0, CLASSES, (1,), generator=draw)[0],
            "tag": torch.where(mask.bool(), torch.randint(0, CLASSES, (LENGTH,), generator=draw), -100),
            "token": torch.where(mask.bool(), ids, -100),
        }
        row = {"input_ids": ids, "attention_mask": mask, "labels": labels["token" if kind == "pair" else kind]}
        if kind == "pair":  # as DataCollatorForSeq2Seq gives it
            row["decoder_input_ids"] = torch.cat([torch.zeros(1, dtype=torch.long), ids[:-1]])
        out.append(row)
    return out


class WeightedTrainer(Trainer):
    """A custom ``compute_loss`` that weighs classes and knows nothing of accumulation."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Weighted cross entropy, a mean over the micro-batch."""
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        weight = torch.linspace(0.5, 1.5, CLASSES)
        loss = nn.functional.cross_entropy(outputs.logits, labels, weight=weight, reduction="none").mean()
        return (loss, outputs) if return_outputs else loss


def counting_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """A ``compute_loss_func`` that divides by what it is told to."""
    total = nn.functional.cross_entropy(outputs["logits"], labels, reduction="sum")
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


def mean_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """A ``compute_loss_func`` that ignores the count, which the Trainer cannot know."""
    return nn.functional.cross_entropy(outputs["logits"], labels)


def _model(name: str, config: str, values: dict[str, Any]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import transformers

        return getattr(transformers, name)(getattr(transformers, config)(**values))

    return build


def _lora(build: Callable[[], nn.Module], values: dict[str, Any]) -> Callable[[], nn.Module]:
    def wrapped() -> nn.Module:
        from peft import LoraConfig, get_peft_model

        return get_peft_model(build(), LoraConfig(**values))

    return wrapped


_BERT_ROW = _model("BertForSequenceClassification", "BertConfig", {**BERT, "num_labels": CLASSES})
_QWEN_ROW = _model("Qwen3ForSequenceClassification", "Qwen3Config", {**QWEN, "num_labels": CLASSES})
_QWEN_LM = _model("Qwen3ForCausalLM", "Qwen3Config", QWEN)
_T5_LM = _model("T5ForConditionalGeneration", "T5Config", {**T5, "decoder_start_token_id": 0})
_MOE = {**QWEN, "num_local_experts": 4, "output_router_logits": True, "router_aux_loss_coef": 0.1}

CASES: dict[str, tuple[str, Callable[[], nn.Module], dict[str, Any]]] = {
    # name: (kind of labels, model, keyword arguments of `build`)
    "BertForSequenceClassification": ("row", _BERT_ROW, {}),
    "Qwen3ForSequenceClassification": ("row", _QWEN_ROW, {}),
    "BertForTokenClassification": (
        "tag",
        _model("BertForTokenClassification", "BertConfig", {**BERT, "num_labels": CLASSES}),
        {},
    ),
    "Qwen3ForTokenClassification": (
        "tag",
        _model("Qwen3ForTokenClassification", "Qwen3Config", {**QWEN, "num_labels": CLASSES}),
        {},
    ),
    "Qwen3ForCausalLM": ("token", _QWEN_LM, {}),
    "GPT2LMHeadModel": ("token", _model("GPT2LMHeadModel", "GPT2Config", {**GPT2, "eos_token_id": 2}), {}),
    "MixtralForCausalLM, router loss": ("token", _model("MixtralForCausalLM", "MixtralConfig", _MOE), {}),
    "T5ForConditionalGeneration": ("token", _T5_LM, {}),
    "BertForMaskedLM": ("token", _model("BertForMaskedLM", "BertConfig", BERT), {}),
    "Qwen3ForSequenceClassification, LoRA": ("row", _lora(_QWEN_ROW, LORA_SEQUENCE), {}),
    "Qwen3ForCausalLM, LoRA": ("token", _lora(_QWEN_LM, LORA_CAUSAL), {}),
    "Qwen3ForCausalLM, label smoothing": ("token", _QWEN_LM, {"label_smoothing_factor": 0.1}),
    "T5ForConditionalGeneration, label smoothing": ("pair", _T5_LM, {"label_smoothing_factor": 0.1}),
    "BertForSequenceClassification, compute_loss": ("row", _BERT_ROW, {"trainer_class": WeightedTrainer}),
    "Qwen3ForSequenceClassification, compute_loss": ("row", _QWEN_ROW, {"trainer_class": WeightedTrainer}),
    "Qwen3ForSequenceClassification, compute_loss_func that counts": (
        "row",
        _QWEN_ROW,
        {"compute_loss_func": counting_loss},
    ),
    "Qwen3ForSequenceClassification, compute_loss_func that does not": (
        "row",
        _QWEN_ROW,
        {"compute_loss_func": mean_loss},
    ),
}


def build(name: str, *, accumulation: int, **overrides: Any) -> Trainer:
    """The Trainer of a case, on the CPU, with nothing reported or saved."""
    kind, model, extra = CASES[name]
    options = {**extra, **overrides}
    trainer_class = options.pop("trainer_class", Trainer)
    function, callbacks = options.pop("compute_loss_func", None), options.pop("callbacks", None)
    set_seed(0)
    arguments = {
        "output_dir": tempfile.gettempdir(),
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": accumulation,
        "report_to": [],
        "max_steps": 10,
        "use_cpu": True,
        "disable_tqdm": True,
        **options,
    }
    data = rows(kind)
    return trainer_class(
        model(),
        TrainingArguments(**arguments),
        train_dataset=data,
        eval_dataset=data,
        callbacks=callbacks,
        **({"compute_loss_func": function} if function else {}),
    )
