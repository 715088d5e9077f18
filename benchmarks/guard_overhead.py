"""What a guard costs a step, beside transformers' DebugUnderflowOverflow and torch's anomaly detection.

    python benchmarks/guard_overhead.py [--steps 30] [--output benchmarks/results/guard_overhead.json]

One process, one thread, five copies of one Qwen3 (4 layers, width 256, batch 8 x 128, fp32), each with its own AdamW
and gradient clipping; the variants take turns step by step, in an order that rotates, so that whatever else the machine
does hits all of them alike. ``plain again`` is the null test: the same code twice. Ratios are of medians over the
steps after the first five; the guard's rare looks (the account of step 1, a hundredth step's headroom) are timed apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path
from statistics import median

import torch
from torch import nn
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.debug_utils import DebugUnderflowOverflow

import holter

WARMUP = 5
OUTPUT = Path(__file__).parent / "results" / "guard_overhead.json"


def model() -> nn.Module:
    """The model of every variant."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 4096, "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64}
    return Qwen3ForCausalLM(Qwen3Config(**sizes, **heads)).train()


def step(net: nn.Module, optimizer: torch.optim.Optimizer, ids: torch.Tensor) -> float:
    """One training step; seconds."""
    start = time.perf_counter()
    loss = net(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    float(loss.detach())
    return time.perf_counter() - start


def measure(steps: int) -> dict[str, list[float]]:
    """Seconds of each step by variant."""
    names = ["plain", "plain again", "holter.guard", "DebugUnderflowOverflow", "detect_anomaly"]
    nets = {name: model() for name in names}
    optimizers = {name: torch.optim.AdamW(net.parameters(), lr=1e-4) for name, net in nets.items()}
    DebugUnderflowOverflow(nets["DebugUnderflowOverflow"])
    seconds: dict[str, list[float]] = {name: [] for name in names}
    draw = torch.Generator().manual_seed(0)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        guarded = "holter.guard"
        stack.enter_context(holter.guard(nets[guarded], optimizers[guarded], folder=folder, max_grad_norm=1.0))
        for index in range(steps + WARMUP):
            ids = torch.randint(0, 4096, (8, 128), generator=draw)
            turn = index % len(names)
            for name in names[turn:] + names[:turn]:
                anomaly = torch.autograd.detect_anomaly(check_nan=True) if name == "detect_anomaly" else nullcontext()
                with anomaly:
                    seconds[name].append(step(nets[name], optimizers[name], ids))
    return seconds


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds = measure(options.steps)
    kept = {name: values[WARMUP:] for name, values in seconds.items()}
    base = median(kept["plain"])
    paired = {name: median(v / p for v, p in zip(values, kept["plain"], strict=True)) for name, values in kept.items()}
    result = {
        "machine": f"{platform.processor() or platform.machine()}, 1 thread, CPU; no accelerator was available",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "steps": options.steps,
        "plain_seconds": base,
        "ratio_of_medians": {name: median(values) / base for name, values in kept.items()},
        "median_of_ratios": paired,
        "guard_first_step_seconds": seconds["holter.guard"][0],
        "plain_first_step_seconds": seconds["plain"][0],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    json.dump(result, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
