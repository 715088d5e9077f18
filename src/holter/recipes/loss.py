"""The true loss: the mean over every counted label of the whole update, whatever way it was cut up.

An update has A micro-batches on each of P processes. Its loss is the sum of the cross-entropies of all its labels
other than -100, divided by their number N over all A x P micro-batches: what one plain batch with the same rows
gives. A mean of the micro-batches' means is another number as soon as they hold unequal numbers of labels.

The Trainer's own rule goes wrong for heads that take ``**kwargs`` but ignore ``num_items_in_batch``: it neither
divides by A nor by N, and multiplies by P. Given a ``compute_loss_func`` every version from 4.51 on leaves the division
to that function, and with ``average_tokens_across_devices`` multiplies by P to undo the averaging of gradients over
processes. So the function here divides by N, counted over all processes, and the factor is 1.

B rows, T tokens, C classes or vocabulary entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IGNORED = -100


class TokenMean:
    """Cross-entropy summed over the counted labels of a micro-batch and divided by those of the whole update.

    Args:
        class_weights: float32 [C] or None; of mean 1 over the training rows, so that the loss keeps its size. Rows are
            weighted and still divided by N, which keeps the loss additive over micro-batches.
        label_smoothing: share of the target spread evenly over all entries.
    """

    def __init__(self, class_weights: torch.Tensor | None = None, label_smoothing: float = 0.0) -> None:
        self.class_weights = class_weights
        self.label_smoothing = label_smoothing
        self._totals: torch.Tensor | None = None

    def __call__(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        """The share of this micro-batch in the loss of the update, in nats (float32 scalar).

        Args:
            outputs: with ``logits`` [B, T, C] or [B, C].
            labels: [B, T] or [B]; -100 is not counted.
            num_items_in_batch: N; None divides by the labels of this micro-batch.
        """
        from torch.nn.functional import cross_entropy

        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        flat = labels.reshape(-1)
        total = cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(),
            flat,
            weight=weights,
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        counted = (flat != IGNORED).sum()
        self.add(total.detach(), counted)
        return total / (counted.clamp(min=1) if num_items_in_batch is None else num_items_in_batch)

    def add(self, total: torch.Tensor, counted: torch.Tensor) -> None:
        """Count ``total`` nats over ``counted`` labels towards an evaluation that is under way."""
        if self._totals is not None:
            self._totals += self._totals.new_tensor([float(total), float(counted)])

    def begin_evaluation(self, device: torch.device) -> None:
        """Start counting for an evaluation."""
        import torch

        self._totals = torch.zeros(2, device=device, dtype=torch.float32 if device.type == "mps" else torch.float64)

    def end_evaluation(self) -> torch.Tensor | None:
        """Nats and labels of this process since `begin_evaluation`; None when no label was counted."""
        totals, self._totals = self._totals, None
        return totals


def balanced_weights(counts: Any, power: float) -> torch.Tensor:
    """Weights by class frequency, of mean 1 over the training rows.

    Args:
        counts: rows of each class, int64 [C]; a class without rows gets the weight of a class with one.
        power: 1.0 for inverse frequency, 0.5 for its square root.

    Returns:
        float32 [C].
    """
    import torch

    rows = torch.as_tensor(counts, dtype=torch.float64)
    weights = rows.clamp(min=1.0).pow(-power)
    mean: torch.Tensor = (weights * rows).sum() / rows.sum()
    return (weights / mean).float()
