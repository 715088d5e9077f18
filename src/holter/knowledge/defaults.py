"""Defaults of the libraries, by version: what a run used where nobody wrote anything.

Source: the field definitions of ``transformers/training_args.py`` and ``peft/tuners/lora/config.py`` in the versions
named; only settings that change a number of the training are listed.
"""

from __future__ import annotations

from typing import Any

Version = tuple[int, ...]

_TRAINER: tuple[tuple[str, Version, Any], ...] = (
    # setting, first transformers version with this default, value; later rows of a setting win
    ("learning_rate", (0,), 5e-5),
    ("weight_decay", (0,), 0.0),
    ("adam_beta1", (0,), 0.9),
    ("adam_beta2", (0,), 0.999),
    ("adam_epsilon", (0,), 1e-8),
    ("max_grad_norm", (0,), 1.0),
    ("num_train_epochs", (0,), 3.0),
    ("lr_scheduler_type", (0,), "linear"),
    ("warmup_steps", (0,), 0),
    ("per_device_train_batch_size", (0,), 8),
    ("gradient_accumulation_steps", (0,), 1),
    ("label_smoothing_factor", (0,), 0.0),
    ("seed", (0,), 42),
    ("fp16", (0,), False),
    ("bf16", (0,), False),
    ("gradient_checkpointing", (0,), False),
    ("logging_nan_inf_filter", (0,), True),
    ("dataloader_drop_last", (0,), False),
    ("optim", (0,), "adamw_torch"),
    ("optim", (4, 54), "adamw_torch_fused"),
    ("average_tokens_across_devices", (4, 46), False),
    ("average_tokens_across_devices", (4, 54), True),
)

_LORA: dict[str, Any] = {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0, "bias": "none", "modules_to_save": None}


def trainer_defaults(version: Version | None) -> dict[str, Any]:
    """Setting -> default of the transformers Trainer.

    Args:
        version: of transformers; None takes what has never changed.
    """
    known: dict[str, Any] = {}
    changed: set[str] = set()
    for setting, since, value in _TRAINER:
        if setting in known or since > (0,):
            changed.add(setting)
        if version is None or since <= version:
            known[setting] = value
    return {k: v for k, v in known.items() if version is not None or k not in changed}


def lora_defaults() -> dict[str, Any]:
    """Setting -> default of PEFT's ``LoraConfig``."""
    return dict(_LORA)
