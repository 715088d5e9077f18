"""Run under torchrun: trains a model in parts (`fully_shard`) without a guard, with one, and with one fault each on the
second process; the same with its numbers taken to lie on a device, whose reads are counted. Rank 0 writes what came as
JSON."""

import json
import logging
import math
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import accounting_cases
import pytest
import torch
import torch.distributed as dist
from device import Reads, simulated
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import holter
from holter.guard import parts as step_parts
from holter.guard import undo

FAULT_STEP = 1
STEPS = 3
LIMIT = 1 << 13  # bytes of a copy: each weight's part here with its states, and not all of them


def build():
    """A small model whose layers lie in parts on two processes."""
    torch.manual_seed(0)
    model = accounting_cases.CASES["Qwen3ForSequenceClassification"][1]()
    mesh = init_device_mesh("cpu", (2,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def spoil(model):
    """Break one weight in the part that lies here."""
    part = model.model.layers[1].mlp.down_proj.weight.to_local()
    with torch.no_grad():
        part.view(-1)[0] = math.nan


def parts(model):
    """Copies of the weights' bits that lie here."""
    return [p.detach().to_local().clone().view(torch.int32) for p in model.parameters()]


def train(folder, fault="", *, fused=False, scaled=False, waits=True, device=None):
    """How the training ended on each process, its losses, norms and reads here, and what the guard wrote."""
    model = build().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused)
    settings = {"folder": folder, "max_grad_norm": 1.0, "read": "deferred" if device else "auto"}
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, enabled=scaled)
    rows, rank = accounting_cases.rows("row"), dist.get_rank()
    losses, norms, counted, ended = [], [], 0, "finished"
    try:
        with holter.guard(model, optimizer, **settings) if folder else nullcontext() as guard:
            for step in range(STEPS):
                due = rank == 1 and step == FAULT_STEP
                if due and fault == "weight":
                    spoil(model)
                if step == FAULT_STEP:
                    before = parts(model)
                mine = rows[(2 * step + rank) * 4 :][:4]
                batch = {name: torch.stack([row[name] for row in mine]) for name in mine[0]}
                with Reads(device) if device else nullcontext() as seen:
                    loss = model(**batch).loss
                    loss = loss * math.nan if due and fault == "loss" else loss
                    scaler.scale(loss).backward()
                    if waits:
                        loss.item()
                    scaler.unscale_(optimizer)
                    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    scaler.step(optimizer)
                    scaler.update()
                    optimizer.zero_grad()
                counted += seen.count if device and step else 0  # the first step's reads are those of its account
                norms.append(norm.full_tensor().item())
                losses.append(loss.item())
    except holter.HolterError as stopped:
        ended = str(stopped)
    ends = [None] * dist.get_world_size()
    dist.all_gather_object(ends, ended)
    kept = all(map(torch.equal, before, parts(model)))
    found = {"ends": ends, "losses": losses, "norms": norms, "reads": counted, "kept": kept}
    if folder and rank == 0:
        found["broken"] = repr(guard.safety.broken)
        for name in ("facts.json", "events.jsonl", "series.jsonl"):
            found[name] = (folder / name).read_text() if (folder / name).exists() else ""
    return found


def on_a_device(folder, faults):
    """The same on what is taken for a device, with an optimizer that takes a flag and with others under a scaler and in
    a loop that waits."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        device = simulated(patch)
        patch.setattr(undo, "SMALL", 1)
        patch.setattr(step_parts, "limit_of", lambda device: LIMIT)
        for kind in ("fused", "scaled", "waiting", "in parts"):
            loop = {"fused": kind == "fused", "scaled": kind == "scaled", "waits": kind == "waiting", "device": device}
            found[f"{kind} plain"] = train(None, **loop)
            for fault in ("", *faults):
                name = f"{kind} {fault or 'healthy'}"
                found[name] = train(folder / name, fault, **loop)
    return found


def main():
    """Write the outcome of every training."""
    torch.set_num_threads(1)
    logging.getLogger("holter").setLevel(logging.ERROR)
    dist.init_process_group("gloo")
    folder = Path(sys.argv[1])
    found = {"plain": train(None), "healthy": train(folder / "healthy")}
    for fault in sys.argv[2:]:
        found[fault] = train(folder / fault, fault)
    found |= on_a_device(folder, sys.argv[2:])
    if dist.get_rank() == 0:
        (folder / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
