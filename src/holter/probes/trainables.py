"""What trains and what does not, by group, and what one step moves."""

from __future__ import annotations

from collections import Counter
from typing import Any

from holter.probes.base import Notebook
from holter.probes.subject import Subject

HEADS = ("score", "classifier", "classification_head", "qa_outputs", "lm_head", "cls")
"""Names under which transformers' task heads stand at the top of a model."""


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``trainable.*``: counts of tensors and elements by group, and whether a task head is among them."""
    groups: Counter[str] = Counter()
    frozen: Counter[str] = Counter()
    for name, parameter in subject.model.named_parameters():
        (groups if parameter.requires_grad else frozen)[_group(name)] += parameter.numel()
    notebook.fact("trainable.parameters", sum(groups.values()))
    notebook.fact("trainable.all_parameters", sum(groups.values()) + sum(frozen.values()))
    notebook.fact("trainable.groups", dict(sorted(groups.items())))
    notebook.fact("trainable.frozen_groups", dict(sorted(frozen.items())))
    head = _head(subject.core)
    if head is not None:
        notebook.fact("trainable.head", head)
        notebook.fact("trainable.head_trains", any(_is_of(name, head) and p.requires_grad for name, p in
                                                   subject.model.named_parameters()))  # fmt: skip


def _group(name: str) -> str:
    if "lora_" in name:
        return "adapter"
    if "modules_to_save" in name:
        return "saved module"
    if any(part in HEADS for part in name.split(".")):
        return "head"
    return "embedding" if "embed" in name or "shared" in name else "body"


def _head(model: Any) -> str | None:
    return next((name for name in HEADS if hasattr(model, name) and name != "lm_head"), None)


def _is_of(name: str, head: str) -> bool:
    return head in name.split(".")
