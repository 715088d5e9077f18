"""The settings in the live objects, and the versions of the libraries."""

from __future__ import annotations

import enum
from typing import Any

from holter.probes.base import Notebook
from holter.probes.subject import Subject

_OF_MODEL = (
    *("model_type", "num_labels", "vocab_size", "pad_token_id", "eos_token_id", "bos_token_id", "num_hidden_layers"),
    *("decoder_start_token_id", "tie_word_embeddings", "problem_type", "is_encoder_decoder", "max_position_embeddings"),
)
_PACKAGES = ("torch", "transformers", "accelerate", "peft", "datasets", "deepspeed", "trl")
_QUIET = ("logging_dir", "output_dir", "run_name", "hub_token", "push_to_hub_token")


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write arguments, model configuration, token ids of the tokenizer and versions as settings."""
    if subject.args is not None:
        for name, value in subject.args.to_dict().items():
            if name not in _QUIET and value is not None:
                notebook.setting(name, _plain(value))
        notebook.setting("world_size", int(getattr(subject.args, "world_size", 1)))
    config = getattr(subject.core, "config", None)
    notebook.setting("architectures", type(subject.core).__name__)
    for name in _OF_MODEL:
        value = getattr(config, name, None)
        if value is not None:
            notebook.setting(name, _plain(value))
    quantization = getattr(config, "quantization_config", None)
    for name in ("load_in_8bit", "load_in_4bit"):
        if (value := getattr(quantization, name, None)) is not None:
            notebook.setting(name, bool(value))
    if getattr(subject.tokenizer, "padding_side", None):
        notebook.setting("padding_side", subject.tokenizer.padding_side)
    _adapters(subject, notebook)
    _versions(notebook)


def _adapters(subject: Subject, notebook: Notebook) -> None:
    configs = getattr(subject.model, "peft_config", None)
    if not isinstance(configs, dict) or not configs:
        return
    config = next(iter(configs.values()))
    notebook.setting("adapters", str(getattr(config, "peft_type", "lora")).rpartition(".")[2].lower())
    for name in ("r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save", "layers_to_transform"):
        value = getattr(config, name, None)
        if value is not None:
            notebook.setting(name, sorted(value) if isinstance(value, set) else _plain(value))


def _versions(notebook: Notebook) -> None:
    from importlib.metadata import PackageNotFoundError, version

    for package in _PACKAGES:
        try:
            notebook.setting(f"versions.{package}", version(package))
        except PackageNotFoundError:
            continue


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)
