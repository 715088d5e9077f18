"""Adapter targets and layers as they were asked for, against the modules that really carry an adapter."""

from __future__ import annotations

import re
from typing import Any

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject

LAYER = re.compile(r"\.(?:layers?|h|blocks?|block)\.(\d+)\.")  # where transformers' models number their layers


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``adapter.*`` (modules and layers that carry one, what was asked for in vain) and ``model.quantized``."""
    core = subject.core
    quantized = bool(getattr(core, "is_quantized", False)) or getattr(core, "quantization_method", None) is not None
    notebook.fact("model.quantized", quantized)
    configs = getattr(subject.model, "peft_config", None)
    if not isinstance(configs, dict) or not configs:
        raise Lacks("adapters of PEFT")
    config = next(iter(configs.values()))
    carrying = [name.rpartition(".lora_A")[0] for name, _ in subject.model.named_modules() if name.endswith(".lora_A")]
    notebook.fact("adapter.modules", len(carrying))
    layers = sorted({int(found[1]) for name in carrying if (found := LAYER.search(f".{name}."))})
    notebook.fact("adapter.layers", layers)
    if carrying:
        notebook.fact("adapter.unmatched_targets", _unmatched(getattr(config, "target_modules", None), carrying))
    asked = getattr(config, "layers_to_transform", None)
    if asked is not None:
        wanted = [asked] if isinstance(asked, int) else list(asked)
        notebook.fact("adapter.layers_asked", wanted)
        notebook.fact("adapter.layers_unmatched", [layer for layer in wanted if layer not in layers])


def _unmatched(targets: Any, carrying: list[str]) -> list[str]:
    """Names among the targets that are the end of no module with an adapter; PEFT matches a pattern as a whole."""
    if isinstance(targets, str) or targets is None:
        return []
    return sorted(t for t in targets if not any(name == t or name.endswith(f".{t}") for name in carrying))
