"""How much memory a training step should take, and how much it took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB = 1024**2
OPTIMIZER_BYTES = {"adamw": 8, "adamw_bnb_8bit": 2, "adamw_8bit": 2, "adafactor": 0, "sgd": 0}
"""State bytes a trainable parameter: AdamW keeps two fp32 moments; Adafactor's row and column sums are negligible."""
LOGIT_COPIES = 3
"""Logits in fp32, their log-softmax and its gradient are alive at once."""
SCORE_COPIES = 4
"""Eager attention: scores, scores with the position bias, softmax in fp32, and what dropout leaves of it."""
NORM_COPIES = 2
"""An RMSNorm keeps its input in fp32 and the normalised result."""
GELU_NEW_COPIES = 6
"""The tanh form of GELU (T5 v1.1, mT5, ByT5) is written out in elementary operations that each keep one."""


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes of one training step on one process, by part."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All parts."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        parts = (("weights", self.weights), ("gradients", self.gradients), ("optimizer", self.optimizer))
        text = ", ".join(f"{name} {size / MIB:,.0f} MiB" for name, size in (*parts, ("activations", self.activations)))
        return f"{self.total / MIB:,.0f} MiB ({text})"


def estimate(model: Any, *, optim: str, rows: int, source: int, target: int, activation_bytes: int) -> MemoryEstimate:
    """What a step of ``rows`` rows should take.

    Activations: a linear layer keeps its input for the weight gradient and passes on its output, so their sum over all
    linear layers, times tokens, covers what the layers between them keep too; norms count `NORM_COPIES` times, scores
    of eager attention (heads x length^2) `SCORE_COPIES` times, logits `LOGIT_COPIES` times in fp32.

    Args:
        model: on any device.
        optim: name of the optimizer.
        rows: rows of a micro-batch.
        source: tokens of its longest source (or only text).
        target: tokens of its longest target; 0 for a classifier.
        activation_bytes: 4 in fp32, 2 in mixed precision.
    """
    parameters = list(model.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    kind = next((k for k in ("adamw_bnb_8bit", "adamw_8bit", "adafactor", "sgd") if k in optim), "adamw")
    return MemoryEstimate(
        weights=sum(p.numel() * p.element_size() for p in parameters),
        gradients=sum(p.numel() * p.element_size() for p in parameters if p.requires_grad),
        optimizer=trainable * OPTIMIZER_BYTES[kind],
        activations=_activations(model, rows, source, target, activation_bytes),
    )


def _activations(model: Any, rows: int, source: int, target: int, size: int) -> int:
    elements = 0
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None or weight.dim() > 2 or type(module).__name__ == "Embedding":
            continue
        length = target if ".decoder." in f".{name}." and target else source
        if weight.dim() == 1:
            elements += rows * length * weight.shape[0] * NORM_COPIES * 4 // size
        elif name.endswith("lm_head"):
            elements += rows * target * weight.shape[0] * LOGIT_COPIES * 4 // size
        elif not name.endswith("score"):
            elements += rows * length * sum(weight.shape)
            if name.endswith("wi_0") and getattr(model.config, "dense_act_fn", "") == "gelu_new":
                elements += rows * length * weight.shape[0] * GELU_NEW_COPIES
    config = model.config
    if getattr(config, "_attn_implementation", "eager") == "eager":
        heads = getattr(config, "num_heads", None) or config.num_attention_heads
        layers = getattr(config, "num_layers", None) or config.num_hidden_layers
        decoder = getattr(config, "num_decoder_layers", 0) or 0
        scores = layers * source**2 + decoder * (target**2 + target * source)
        elements += SCORE_COPIES * rows * heads * scores
    return elements * size


class PeakMeter:
    """Peak memory of this process since `start`, in bytes above what it had then plus the model's weights.

    On a GPU the allocator's own peak; on a CPU under Linux the resident peak, which is reset at the start; elsewhere
    nothing is measured.
    """

    def __init__(self, weights: int) -> None:
        self.weights = weights
        self._base: int | None = None

    def start(self) -> None:
        """Forget earlier peaks."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            return
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._base = _status("VmRSS")
        except (OSError, LookupError):
            self._base = None

    def peak(self) -> int | None:
        """Bytes, or None where it cannot be measured."""
        import torch

        if torch.cuda.is_available():
            return int(torch.cuda.max_memory_allocated())
        if self._base is None:
            return None
        return max(0, _status("VmHWM") - self._base) + self.weights


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(key)


def compared(guess: MemoryEstimate, peak: int | None) -> str:
    """One line on how far off the estimate was."""
    if peak is None:
        return "peak memory: not measurable on this system"
    off = (guess.total - peak) / peak if peak else 0.0
    word = "above" if off >= 0 else "below"
    return f"peak memory: {peak / MIB:,.0f} MiB; the estimate was {abs(off):.0%} {word} it"
