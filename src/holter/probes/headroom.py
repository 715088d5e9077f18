"""Largest activation and gradient of every module, and the bits left to the limit of the dtype that will be used."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from holter.knowledge.families import family_of
from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject

LIMITS = {"float16": 65504.0, "bfloat16": 3.3895e38, "float32": 3.4028e38}
"""Largest finite number of each format (IEEE 754; bfloat16 has the exponent of float32)."""

SHOWN = 5  # modules closest to the limit that a report lists


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``headroom.*``: bits to the limit by module, and dtypes of weights and computation.

    Headroom is log2(limit / largest absolute value): 0 at the limit, negative beyond. It is computed in fp32, so a
    module that would overflow in fp16 shows by how much.
    """
    import torch

    if not notebook.batches:
        raise Lacks("a batch")
    dtype = _planned(subject)
    weights = {str(p.dtype).removeprefix("torch.") for p in subject.model.parameters()}
    trainable = {str(p.dtype).removeprefix("torch.") for p in subject.model.parameters() if p.requires_grad}
    notebook.fact("model.weight_dtypes", sorted(weights))
    notebook.fact("model.trainable_dtypes", sorted(trainable))
    notebook.fact("model.compute_dtype", dtype)
    family = family_of(getattr(subject.core.config, "model_type", None)) if hasattr(subject.core, "config") else None
    if family is not None:
        notebook.fact("model.family", family.name)
        notebook.fact("model.family_fp16", family.fp16.value)
    forward, backward = _largest(subject, notebook.few())
    for word, found in (("activation", forward), ("gradient", backward)):
        if found:
            worst = sorted(found.items(), key=lambda item: -item[1])[:SHOWN]
            notebook.fact(f"headroom.{word}.max", worst[0][1])
            notebook.fact(f"headroom.{word}.module", worst[0][0])
            notebook.fact(f"headroom.{word}.bits", {name: _bits(value, dtype) for name, value in worst})
    fp16 = min((_bits(v, "float16") for v in forward.values()), default=None)
    notebook.fact("headroom.fp16_bits", fp16)
    torch.clear_autocast_cache()


def _planned(subject: Subject) -> str:
    args = subject.args
    if getattr(args, "bf16", False):
        return "bfloat16"
    if getattr(args, "fp16", False):
        return "float16"
    return str(next(subject.model.parameters()).dtype).removeprefix("torch.")


def _bits(value: float, dtype: str) -> float:
    if not math.isfinite(value):
        return -math.inf
    return math.log2(LIMITS.get(dtype, LIMITS["float32"]) / max(value, 1e-30))


def _largest(subject: Subject, inputs: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Module -> largest absolute output and output gradient, from one forward and backward pass with dropout off."""
    forward: dict[str, float] = {}
    backward: dict[str, float] = {}
    model = subject.model.eval()
    handles = [module.register_forward_hook(_watch(name, forward, backward)) for name, module in _leaves(model)]
    try:
        loss = getattr(model(**inputs), "loss", None)
        if loss is not None and loss.requires_grad:
            model.zero_grad(set_to_none=True)
            loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    return forward, backward


def _leaves(model: Any) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in model.named_modules() if not any(True for _ in module.children())]


def _watch(name: str, forward: dict[str, float], backward: dict[str, float]) -> Callable[..., None]:
    import torch

    def keep_gradient(gradient: torch.Tensor) -> None:
        backward[name] = max(backward.get(name, 0.0), float(gradient.abs().max()))

    def hook(module: Any, inputs: Any, output: Any) -> None:
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return
        forward[name] = max(forward.get(name, 0.0), float(output.detach().abs().max()))
        if output.requires_grad:
            register: Any = output.register_hook
            register(keep_gradient)

    return hook
