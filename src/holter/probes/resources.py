"""Memory that a step should take against what the device has, and how the set-up uses the machine."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject

TF32_SINCE = 8  # major compute capability: Ampere


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``memory.*`` in MiB, and ``environment.*``: device, TF32, loader workers."""
    import torch

    device = next(subject.model.parameters()).device
    notebook.fact("environment.device", torch.cuda.get_device_name(device) if device.type == "cuda" else str(device))
    if device.type == "cuda":
        notebook.fact("environment.tf32", torch.backends.cuda.matmul.allow_tf32)
        notebook.fact("environment.tf32_possible", torch.cuda.get_device_capability(device)[0] >= TF32_SINCE)
    if subject.args is not None:
        notebook.fact("environment.loader_workers", subject.args.dataloader_num_workers)
        notebook.fact("environment.prefetch_factor", subject.args.dataloader_prefetch_factor)
    notebook.fact("memory.available_mib", _available(device))
    if not notebook.batches or "input_ids" not in notebook.batches[0]:
        raise Lacks("a batch with input_ids, so the memory of a step is not estimated")
    notebook.fact("memory.estimate_mib", _estimate(subject, notebook))


def _available(device: Any) -> float:
    import torch

    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory) / 2**20
    psutil: Any = import_module("psutil")
    return float(psutil.virtual_memory().available) / 2**20


def _estimate(subject: Subject, notebook: Notebook) -> float:
    from holter.recipes.memory import MIB, estimate

    ids, labels = notebook.batches[0]["input_ids"], notebook.batches[0].get("labels")
    sequence_labels = labels is not None and labels.ndim == 2
    half = notebook.run.get("fp16") or notebook.run.get("bf16")
    guess = estimate(
        subject.core,
        optim=str(notebook.run.get("optim", "adamw")),
        rows=int(ids.shape[0]),
        source=int(ids.shape[1]),
        target=int(labels.shape[1]) if sequence_labels and labels is not None else 0,
        activation_bytes=2 if half else 4,
    )
    return guess.total / MIB
