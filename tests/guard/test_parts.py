"""The step of a large optimizer, taken back part by part: to the last bit the step of the whole."""

import json
import math
import struct
from contextlib import nullcontext

import pytest
import torch
from device import simulated
from small_loops import rows
from test_on_fault import Quiet
from test_undo import OPTIMIZERS as WHOLE
from test_undo import poisoned, states

import holter
from holter.guard import parts, undo
from holter.guard.parts import Parts

BROKEN = 3
STEPS = range(6)
OPTIMIZERS = {name: made for name, made in WHOLE.items() if name != "counting"} | {
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-2),
    "SGD maximize": lambda p: torch.optim.SGD(p, lr=1e-4, momentum=0.5, maximize=True, foreach=False),
    "AdamW for-loop": lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=False),
    "Adam amsgrad foreach": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True, weight_decay=0.1, foreach=True),
    "Adam rate as a tensor": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-2), foreach=False),
    "NAdam foreach": lambda p: torch.optim.NAdam(p, lr=1e-3, foreach=True, decoupled_weight_decay=True),
    "RAdam foreach": lambda p: torch.optim.RAdam(p, lr=1e-3, foreach=True),
    "RMSprop foreach": lambda p: torch.optim.RMSprop(p, lr=1e-3, centered=True, momentum=0.5, foreach=True),
    "Adagrad foreach": lambda p: torch.optim.Adagrad(p, lr=1e-2, lr_decay=0.1, foreach=True),
    "Adadelta foreach": lambda p: torch.optim.Adadelta(p, foreach=True),
    "Adamax foreach": lambda p: torch.optim.Adamax(p, foreach=True),
    "ASGD foreach": lambda p: torch.optim.ASGD(p, lr=1e-2, foreach=True, weight_decay=0.1),
    "Rprop foreach": lambda p: torch.optim.Rprop(p, lr=1e-3, foreach=True),
    "Adafactor foreach": lambda p: torch.optim.Adafactor(p, lr=1e-2, foreach=True, weight_decay=0.1),
}
if hasattr(torch.optim, "Muon"):
    OPTIMIZERS["Muon"] = lambda p: torch.optim.Muon([q for g in p for q in g["params"] if q.ndim == 2], lr=1e-2)
KEPT = []  # the parts of the latest step
BITS_AND_BYTES = ["AdamW8bit", "AdamW", "Lion8bit", "RMSprop8bit", "Adagrad8bit", "AdEMAMix8bit", "LAMB"]


@pytest.fixture(autouse=True)
def accelerator(monkeypatch):
    """Numbers are taken to lie on a device, whose hundredth holds a part but not the whole."""
    monkeypatch.setattr(undo, "SMALL", 1)
    monkeypatch.setattr(parts, "limit_of", lambda device: 450)
    inner = Parts._keep

    def keep(self, parameters):
        KEPT.append(parameters)
        return inner(self, parameters)

    monkeypatch.setattr(Parts, "_keep", keep)
    return simulated(monkeypatch)


class Mixed(Quiet):
    """Three layers, of which one is idle and one computes in bf16."""

    def __init__(self, dtype=torch.bfloat16):
        super().__init__()
        self.idle, self.middle = torch.nn.Linear(3, 3), torch.nn.Linear(8, 8).to(dtype)

    def forward(self, x, y):
        inner = self.middle(self.first(x).tanh().to(self.middle.weight.dtype)).float()
        return (((self.last(inner) - y) ** 2).mean(),)


def groups_of(model):
    """Two groups with settings of their own."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    return [{"params": decayed}, {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.01}]


def trained(made, folder=None, data=None, seeds=STEPS, dtype=torch.bfloat16, on_step=None, **settings):
    """Losses, weights, what the optimizer keeps, and how many parts a guarded step had at most."""
    torch.manual_seed(0)
    model = Mixed(dtype).train()
    optimizer = made(groups_of(model))
    settings = {"folder": folder, "on_fault": "skip", "read": "deferred", "save_capsule": False, **settings}
    losses, counts = [], []
    with holter.guard(model, optimizer, **settings) if folder else nullcontext() as guard:
        for seed in seeds:
            KEPT.clear()
            x, y = (data or {}).get((seed, 0)) or rows(seed=seed)
            loss = model(x, y)[0]
            loss.backward()
            (on_step or optimizer.step)()
            optimizer.zero_grad()
            losses.append(loss.item())
            counts.append(len(KEPT))
    assert not folder or guard.safety.broken is None
    return losses, [bits(p) for p in model.parameters()], [bits(v) for v in states(optimizer)], max(counts)


def bits(value):
    """A tensor or number such that equal means equal to the last bit."""
    if torch.is_tensor(value):
        return value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, list):
        return [bits(v) for v in value]
    return struct.pack("d", value) if isinstance(value, float) else value


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_healthy_step_in_parts_keeps_every_bit(tmp_path, name):
    dtype = torch.float32 if "Adafactor" in name else torch.bfloat16  # with both, torch's takes the first one's eps
    plain = trained(OPTIMIZERS[name], dtype=dtype)
    guarded = trained(OPTIMIZERS[name], tmp_path, dtype=dtype)
    assert guarded[:3] == plain[:3]
    assert guarded[3] > 1
    assert not (tmp_path / "events.jsonl").exists()


@pytest.mark.parametrize("broken", [0, BROKEN])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_broken_step_in_parts_is_as_if_it_had_never_been(tmp_path, name, broken):
    dtype = torch.float32 if "Adafactor" in name else torch.bfloat16
    found = trained(OPTIMIZERS[name], tmp_path, poisoned(broken), dtype=dtype)
    expected = trained(OPTIMIZERS[name], seeds=[s for s in STEPS if s != broken], dtype=dtype)
    assert math.isnan(found[0].pop(broken))
    assert found[:3] == expected[:3]
    assert json.loads((tmp_path / "facts.json").read_text())["guard.fault_step"] == broken


@pytest.mark.parametrize("name", BITS_AND_BYTES)
def test_optimizers_of_bitsandbytes_too(tmp_path, name):
    library = pytest.importorskip("bitsandbytes")

    def made(groups):
        kind = getattr(library.optim, name)
        eight = {"min_8bit_size": 16} if name.endswith("8bit") else {}  # so that weights this small have 8-bit states
        return kind([{**g, "weight_decay": 0.01} for g in groups], lr=1e-3, **eight)

    plain, guarded = trained(made), trained(made, tmp_path / "a")
    assert guarded[:3] == plain[:3]
    assert guarded[3] > 1
    found = trained(made, tmp_path / "b", poisoned(BROKEN))
    found[0].pop(BROKEN)
    assert found[:3] == trained(made, seeds=[s for s in STEPS if s != BROKEN])[:3]
