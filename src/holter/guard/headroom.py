"""How far each module's largest output is from the limit of fp16, looked at once in a while, and where it is going."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from holter.guard.history import Forecast, forecast

if TYPE_CHECKING:
    from torch import Tensor, nn

FP16_MAX = 65504.0  # largest finite number of IEEE half precision


class Headroom:
    """Largest outputs by module. The look costs one pass over the outputs of one forward pass."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.seen: dict[str, tuple[list[float], list[float]]] = {}
        self._handles: list[Any] = []
        self._largest: dict[str, Tensor] = {}

    def look(self) -> None:
        """Watch the next forward pass."""
        for name, module in self.model.named_modules():
            if not any(True for _ in module.children()):
                self._handles.append(module.register_forward_hook(self._hook(name)))

    def stop(self) -> None:
        """Take the hooks off."""
        while self._handles:
            self._handles.pop().remove()

    def close(self, step: int) -> dict[str, float]:
        """Bits of headroom by module after the pass; reads the device once."""
        import torch

        self.stop()
        if not self._largest:
            return {}
        names = list(self._largest)
        values = torch.stack([self._largest[n].float().reshape(()) for n in names]).tolist()
        self._largest.clear()
        bits = {n: bits_of(v) for n, v in zip(names, values, strict=True)}
        for name, value in bits.items():
            if math.isfinite(value):
                steps, left = self.seen.setdefault(name, ([], []))
                steps.append(float(step))
                left.append(value)
        return bits

    def forecasts(self) -> dict[str, Forecast]:
        """Modules whose headroom is running out, the soonest first."""
        found = {name: forecast(steps, bits) for name, (steps, bits) in self.seen.items()}
        falling = {name: f for name, f in found.items() if f is not None and f.steps_left is not None}
        return dict(sorted(falling.items(), key=lambda item: item[1].steps_left or 0.0))

    def _hook(self, name: str) -> Any:
        def keep(module: Any, inputs: Any, output: Any) -> None:
            import torch

            value = output[0] if isinstance(output, tuple) and output else output
            if torch.is_tensor(value) and value.dtype is torch.float16 and value.numel():
                largest = value.detach().abs().amax()
                self._largest[name] = torch.maximum(self._largest[name], largest) if name in self._largest else largest

        return keep


def bits_of(largest: float, limit: float = FP16_MAX) -> float:
    """log2(limit / largest): 0 at the limit, negative beyond it, infinite for an output of zeros."""
    if largest == 0:
        return math.inf
    return math.log2(limit) - math.log2(largest) if math.isfinite(largest) else -math.inf
