"""What taking a step back by its flag adds to a healthy optimizer step: plain, moved by a kernel that looks at the flag
first, and by arithmetic on bits, step by step in turns in one process.

Run: python benchmarks/guard_undo.py [--blocks 6] [--steps 21]
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from holter.guard import copies
from holter.guard.batches import Step
from holter.guard.flags import Flags

BLOCK = ((768, 768),) * 4 + ((768, 3072), (3072, 768), (768,), (768,), (3072,))
"""Shapes of one encoder block of BERT's size, 7 million weights."""
WARMUP = 2  # steps in which states are made and the kernel is tried


def adafactor(parameters: list[Any]) -> Any:
    """That of transformers, which is not given to reading from its device with these settings."""
    from transformers.optimization import Adafactor

    return Adafactor(parameters, lr=1e-3, relative_step=False, scale_parameter=False)


OPTIMIZERS: dict[str, Any] = {
    "AdamW, `foreach`": lambda p: torch.optim.AdamW(p, lr=1e-3, foreach=True),
    "SGD with momentum, `foreach`": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, foreach=True),
    "Adafactor of transformers": adafactor,
}


def built(name: str, blocks: int) -> Any:
    """An optimizer of weights with gradients."""
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for _ in range(blocks) for shape in BLOCK]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter) * 1e-3
    return OPTIMIZERS[name](parameters)


def taken_back(optimizer: Any) -> Any:
    """The same, whose steps are made before their flag is read."""
    flags, step = Flags(optimizer, "deferred"), Step(index=0)

    def before(_: Any, args: Any, kwargs: Any) -> Any:
        flags.resolve(torch.zeros(()), step)
        flags.prepare()
        return flags.stand_in(args), kwargs

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(lambda *_: flags.take_back())
    return optimizer


def measured(name: str, blocks: int, steps: int) -> tuple[float, float, float]:
    """Median CPU seconds of a step: plain, by the kernel, by arithmetic. Weights stay the same to the last bit."""
    moves = copies.moves
    three = [built(name, blocks), taken_back(built(name, blocks)), taken_back(built(name, blocks))]
    seconds: list[list[float]] = [[], [], []]
    for _ in range(steps + WARMUP):
        for optimizer, ways, times in zip(three, (moves, moves, lambda device: False), seconds, strict=True):
            copies.moves = ways  # type: ignore[assignment]
            start = time.process_time()
            optimizer.step()
            times.append(time.process_time() - start)
    copies.moves = moves
    weights = [[p for group in optimizer.param_groups for p in group["params"]] for optimizer in three]
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*weights, strict=True))
    plain, moved, added = (statistics.median(times[WARMUP:]) for times in seconds)
    return plain, moved, added


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--steps", type=int, default=21)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| optimizer | step | taken back by the kernel | by arithmetic |\n|---|---|---|---|")
    for name in OPTIMIZERS:
        plain, moved, added = measured(name, options.blocks, options.steps)
        print(f"| {name} | {1e3 * plain:.0f} ms | {moved / plain:.2f} | {added / plain:.2f} |")


if __name__ == "__main__":
    main()
