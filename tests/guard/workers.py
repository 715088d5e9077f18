"""Run under torchrun: trains two replicas, one of which is given a broken row. A fault whose name begins with "far" is
met with the numbers taken to lie on a device, whose reads are counted; "far parts" with a model too large for a copy,
in parts on all processes but that one, which has no memory for a part either."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parent))

from device import Reads, simulated
from small_loops import Net, rows

import holter
from holter.guard import parts, undo
from holter.guard.peers import Peers

LIMIT = 450  # bytes of a copy: more than the largest weight of `Net` takes with Adam's states, less than two of them


class Noting:
    """Refuses an exchange of the hosts' flags that does not go through their own group."""

    def __init__(self, inner, group):
        assert group is not None
        self.inner, self.group = inner, group

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def all_reduce(self, tensor, **options):
        assert options["group"] is self.group
        return self.inner.all_reduce(tensor, **options)


def main():
    """Print how this rank's loop ended."""
    folder, fault, broken_rank, on_fault = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    far, in_parts = fault.startswith("far "), "parts " in fault
    with pytest.MonkeyPatch.context() as patch:
        if in_parts:
            patch.setattr(undo, "SMALL", 1)
            patch.setattr(parts, "limit_of", lambda device: 1 if os.environ["RANK"] == str(broken_rank) else LIMIT)
        fault = fault.removeprefix("far ").removeprefix("parts ")
        train(folder, fault, broken_rank, on_fault, simulated(patch) if far else None)


def train(folder, fault, broken_rank, on_fault, device):
    """One loop; ``device`` counts its reads."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Net()
    net.drop = torch.nn.Identity()  # it would draw for a batch that is skipped, too
    model = torch.nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    steps, reads = 0, 0
    read = "deferred" if device else "auto"
    if fault == "group":  # as if the processes could only exchange what lies on their devices
        Peers.needs_group = lambda self: True
    try:
        with holter.guard(model, optimizer, folder=folder, on_fault=on_fault, read=read) as guard:
            if fault == "group":
                guard.peers._dist = Noting(dist, guard.peers._group)
            if rank == {"guard": broken_rank, "loss, other guard": 1 - broken_rank}.get(fault):
                guard.flags.look = None
            model.train()
            for step in (0, 1, 3) if fault == "left out" else range(4):
                x, y = rows(seed=step * 2 + rank)
                if fault in ("row", "group") and step == 2 and rank == broken_rank:
                    x[5] = float("nan")
                with Reads(device) if device else nullcontext() as seen:
                    loss, _ = model(x, y)
                    if fault.startswith("loss") and step == 2 and rank == broken_rank:
                        loss = loss + (loss.detach() - loss.detach()).log()
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                reads += seen.count if device and step else 0  # the first step's reads are those of its account
                steps += 1
        print(f"rank {rank} steps {steps} finished\n", end="", flush=True)
        print(f"reads of {rank}: {reads}\n", end="", flush=True)
        total = sum(float(p.detach().double().sum()) for p in model.parameters())
        print(f"weights of {rank}: {total!r}\n", end="", flush=True)
    except holter.HolterError as stopped:
        print(f"rank {rank} steps {steps} stopped {stopped.what}\n", end="", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
