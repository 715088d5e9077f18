"""Run under torchrun: small trainings under many engines of DeepSpeed, without a guard, with one, and with faults on
the second process. Numbers are taken to lie on an accelerator; rank 0 writes what came as JSON."""

import json
import logging
import math
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import deepspeed
import pytest
import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator
from deepspeed.utils import safe_get_full_fp32_param
from device import Reads, simulated
from small_loops import Net, rows

import holter
from holter.guard import engine as guarding
from holter.guard.loop import base_optimizer

STEPS, FIRST = 8, 3  # the first step's account reads more
FAULT_STEP, MICRO = 4, 2
BF16, FP16 = {"bf16": {"enabled": True}}, {"fp16": {"enabled": True, "initial_scale_power": 8}}
UNCHECKED = {"bf16": {"enabled": True, "check_grad_overflow": False}}
ENGINES = {
    "ZeRO-0 fp32": (0, {}),
    "ZeRO-0 bf16": (0, BF16),
    "ZeRO-0 fp16": (0, FP16),
    "ZeRO-1 bf16": (1, BF16 | {"data_types": {"grad_accum_dtype": "fp32"}}),
    "ZeRO-1 fp32": (1, {}),
    "ZeRO-2 fp32": (2, {}),
    "ZeRO-2 bf16": (2, BF16),
    "ZeRO-2 bf16 unchecked": (2, UNCHECKED),
    "ZeRO-2 fp16": (2, FP16),
    "ZeRO-3 fp32": (3, {}),
    "ZeRO-3 bf16": (3, BF16),
    "ZeRO-3 fp16": (3, FP16),
}
SEARCHING = {"fp16": {"enabled": True, "initial_scale_power": 18, "hysteresis": 1}}
SMALLEST = {"fp16": {"enabled": True, "initial_scale_power": 3, "hysteresis": 1}}
STATIC = {"fp16": {"enabled": True, "loss_scale": 64}}


FUSED = {"ZeRO-0 fp32 fused": (0, {}), "ZeRO-2 bf16 unchecked fused": (2, UNCHECKED)}


def built(stage, options, fused):
    """An engine of a small model."""
    torch.manual_seed(0)
    zero = {"stage": stage, "stage3_param_persistence_threshold": 0}
    sizes = {"train_micro_batch_size_per_gpu": 8, "gradient_accumulation_steps": MICRO, "gradient_clipping": 1.0}
    config = {**sizes, "zero_optimization": zero, "zero_allow_untested_optimizer": True, **options}
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=fused)
    return deepspeed.initialize(model=model, optimizer=optimizer, config=config)[0]


def spoiled(loss, fault, step):
    """A loss with a fault of its own: a NaN beside a finite gradient, or a gradient that is infinite."""
    if fault == "loss" and step == FAULT_STEP:
        return loss + math.nan
    if (fault == "gradient" and step == FAULT_STEP) or fault == "collapse":
        loss.register_hook(lambda gradient: gradient * math.inf)
    return loss


def weights(engine):
    """The optimizer's own, in fp32; a process may have a part of them."""
    if engine.zero_optimization_stage() == 3:
        return [safe_get_full_fp32_param(p).clone() for p in engine.module.parameters()]
    return [p.detach().clone() for group in base_optimizer(engine.optimizer).param_groups for p in group["params"]]


def train(name, folder=None, fault="", device=None, judged=None, failed=False, **settings):
    """Losses, the weights after each step, how it ended, and how often somebody waited for the device."""
    stage, options = (ENGINES | FUSED)[name] if isinstance(name, str) else name
    engine = built(stage, options, name in FUSED if isinstance(name, str) else False)
    dtype = next(engine.module.parameters()).dtype
    losses, seen, waits, reads, ended = [], [weights(engine)], 0, 0, "finished"
    guard = (
        holter.guard(engine, engine.optimizer, folder=folder, **{"read": "deferred", **settings}) if folder else None
    )
    with guard or nullcontext() as core:
        if judged is not None:
            core.judged = judged
        if failed and dist.get_rank() == 0:
            core.safety.broken = ValueError("planted")
        try:
            for step in range(STEPS):
                before = device.waits
                with Reads(device) as counting:
                    for micro in range(MICRO):
                        x, y = rows(seed=step * MICRO + micro + 100 * dist.get_rank())
                        loss, _ = engine(x.to(dtype), y.to(dtype))
                        due = dist.get_rank() == 1 and micro == 0
                        loss = spoiled(loss, fault, step) if due else loss
                        engine.backward(loss)
                        engine.step()
                        losses.append(loss.detach())
                waits += device.waits - before if step >= FIRST else 0
                reads += counting.count if step >= FIRST else 0
                seen.append(weights(engine))
        except holter.HolterError as stopped:
            ended = str(stopped).splitlines()[0]
    return {
        "name": str(name),
        "losses": torch.stack(losses),
        "weights": seen,
        "now": weights(engine),
        "ended": ended,
        "waits": waits,
        "reads": reads,
        "core": core,
    }


def told(run, folder):
    """What two processes say of a run, in plain numbers."""
    core, ranks = run["core"], [None] * dist.get_world_size()
    moved = [
        not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        for before, after in zip(run["weights"], [*run["weights"][1:], run["now"]], strict=True)
    ]
    found = {"ended": run["ended"], "waits": run["waits"], "reads": run["reads"], "moved": moved}
    found |= {"broken": repr(core.safety.broken), "faults": core.faults, "skips": core.scaler.skips}
    found |= {"finite": all(bool(torch.isfinite(w).all()) for w in run["now"])}
    dist.all_gather_object(ranks, found)
    names = ("facts.json", "events.jsonl", "series.jsonl")
    files = {n: (folder / n).read_text() if (folder / n).exists() else "" for n in names}
    return {"ranks": ranks, **files}


def same(one, other):
    """Whether two runs are the same to the last bit on every process."""
    equal = torch.equal(one["losses"].nan_to_num(7.0), other["losses"].nan_to_num(7.0))
    pairs = zip(one["weights"], other["weights"], strict=True)
    equal = equal and all(torch.equal(a, b) for p in pairs for a, b in zip(*p, strict=True))
    found = [None] * dist.get_world_size()
    dist.all_gather_object(found, equal)
    return all(found)


def healthy(folder, device):
    """Every engine without a fault, and with each."""
    found = {}
    for name in ENGINES | FUSED:
        plain, guarded = train(name, device=device), train(name, folder / name, device=device)
        found[name] = told(guarded, folder / name)
        found[name] |= {"same": same(plain, guarded), "judged": guarded["core"].judged}
        found[name] |= {"plain waits": plain["waits"], "plain reads": plain["reads"]}
        for fault in ("loss", "gradient"):
            at = folder / f"{name} {fault}"
            found[f"{name} {fault}"] = told(train(name, at, fault, device=device), at)
    return found


def special(folder, device):
    """What only some engines do."""
    found = {}
    for stage in (0, 2, 3):
        cases = {
            "search": (SEARCHING, "", {}),
            "search, loss": (SEARCHING, "loss", {}),
            "collapse": (SMALLEST, "collapse", {}),
            "static": (STATIC, "gradient", {}),
            "skip": (BF16, "loss", {"on_fault": "skip"}),
            "continue": (BF16, "loss", {"on_fault": "continue"}),
            "every step": (BF16, "loss", {"read": "step"}),
            "failed, loss": (BF16, "loss", {"failed": True}),
            "failed, collapse": (SMALLEST, "collapse", {"failed": True}),
        }
        for case, (options, fault, settings) in cases.items():
            at = folder / f"{case} {stage}"
            plain = train((stage, options), fault=fault, device=device) if case in ("search", "continue") else None
            run = train((stage, options), at, fault, device, **settings)
            found[f"{case} {stage}"] = told(run, at) | {"same": plain and same(plain, run)}
    at = folder / "misjudged"
    found["misjudged"] = told(train("ZeRO-2 bf16 unchecked", at, "loss", device, judged=True), at)
    return found


def main():
    """Write the outcome of every training."""
    torch.set_num_threads(1)
    logging.getLogger("holter").setLevel(logging.ERROR)
    get_accelerator().is_fp16_supported = lambda: True  # slow on this CPU, and right
    deepspeed.init_distributed("gloo")
    with pytest.MonkeyPatch.context() as patch:
        device = simulated(patch)
        patch.setattr(guarding, "on_its_way", device.sends)
        folder = Path(sys.argv[1])
        found = {"engines": healthy(folder, device), "special": special(folder, device)}
    if int(os.environ["RANK"]) == 0:
        (folder / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
