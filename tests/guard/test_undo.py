"""A step that is made before its flag is read, and taken back by it: nothing but the time of the report changes."""

import json
import math

import pytest
import torch
from device import simulated
from small_loops import Net, rows
from test_on_fault import Quiet, same, trained

import holter
from holter.errors import TrainingStopped
from holter.guard import copies
from holter.guard.undo import can_undo

BROKEN = 3


class Counting(torch.optim.Optimizer):
    """Counts in its groups and states, and makes its states anew."""

    def __init__(self, params):
        super().__init__(params, {"lr": 1e-2, "made": 0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["made"] += 1
            for p in group["params"]:
                state = self.state[p]
                state["count"] = state.get("count", 0) + 1
                state["mean"] = p.grad * 0.1 + state.get("mean", 0.0)
                p.sub_(state["mean"] * group["lr"] / math.sqrt(state["count"] + group["made"]))


def adafactor(parameters):
    from transformers.optimization import Adafactor

    return Adafactor(parameters, lr=1e-3, relative_step=False)


OPTIMIZERS = {
    "AdamW foreach": lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=True),
    "AdamW amsgrad": lambda p: torch.optim.AdamW(p, lr=1e-2, amsgrad=True, foreach=False),
    "SGD momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True, weight_decay=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, centered=True, momentum=0.5),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=1e-3),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=1e-3),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2),
    "Adadelta": lambda p: torch.optim.Adadelta(p),
    "Adamax": lambda p: torch.optim.Adamax(p),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=1e-2),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=1e-3),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=1e-2),
    "Adafactor of transformers": adafactor,
    "counting": Counting,
}


@pytest.fixture(autouse=True)
def accelerator(monkeypatch):
    """Numbers are taken to lie on a device that nobody waits for."""
    return simulated(monkeypatch)


def net():
    torch.manual_seed(0)
    return Quiet()


def poisoned(*seeds):
    x, y = rows(seed=BROKEN)
    x[5] = math.nan
    return {(seed, 0): (x, y) for seed in seeds}


def run(folder, name, on_fault="stop", data=None, seeds=range(7)):
    """Losses, weights after each step, and the optimizer."""
    model = net()
    optimizer = OPTIMIZERS[name](model.parameters())
    losses, seen = trained(model, optimizer, folder, on_fault, data or {}, seeds, read="deferred")
    return losses, seen, optimizer


def states(optimizer):
    """All that an optimizer keeps, in an order."""
    found = [v for group in optimizer.param_groups for k, v in sorted(group.items()) if k != "params"]
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            found += [v for _, v in sorted(optimizer.state.get(parameter, {}).items())]
    return [v.tolist() if torch.is_tensor(v) else v for v in found]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_healthy_step_keeps_every_bit(tmp_path, name):
    model = net()
    optimizer = OPTIMIZERS[name](model.parameters())
    plain = []
    for seed in range(7):
        loss = model(*rows(seed=seed))[0]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        plain.append(loss.item())
    losses, seen, guarded = run(tmp_path, name)
    assert losses == plain
    assert same(seen[-1], model.parameters())
    assert states(guarded) == states(optimizer)


@pytest.mark.parametrize("broken", [0, BROKEN])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_broken_step_is_as_if_it_had_never_been(tmp_path, name, broken):
    losses, seen, optimizer = run(tmp_path / "a", name, "skip", poisoned(broken))
    without, expected, other = run(tmp_path / "b", name, "skip", seeds=[s for s in range(7) if s != broken])
    assert math.isnan(losses.pop(broken))
    assert losses == without
    assert same(seen[-1], expected[-1])
    assert states(optimizer) == states(other)
    assert json.loads((tmp_path / "a" / "facts.json").read_text())["guard.fault_step"] == broken


def test_two_in_a_row_are_both_taken_back(tmp_path):
    losses, seen, optimizer = run(tmp_path / "a", "AdamW foreach", "skip", poisoned(3, 4))
    _, expected, other = run(tmp_path / "b", "AdamW foreach", "skip", seeds=[0, 1, 2, 5, 6])
    assert [s for s, v in enumerate(losses) if math.isnan(v)] == [3, 4]
    assert same(seen[-1], expected[-1])
    assert states(optimizer) == states(other)


def test_stopping_names_the_step_and_leaves_weights_and_states_of_the_one_before(tmp_path):
    model = net()
    optimizer = OPTIMIZERS["AdamW foreach"](model.parameters())
    with pytest.raises(TrainingStopped, match=f"step {BROKEN + 1} was stopped"):
        trained(model, optimizer, tmp_path / "a", "stop", poisoned(BROKEN), read="deferred")
    _, expected, other = run(tmp_path / "b", "AdamW foreach", seeds=range(BROKEN))
    assert same(model.parameters(), expected[-1])
    assert states(optimizer) == states(other)
    facts = json.loads((tmp_path / "a" / "facts.json").read_text())
    assert facts["replay.phase"] == "data"
    assert facts["replay.rows"] == [5]


def test_a_rate_that_a_schedule_set_meanwhile_stays(tmp_path):
    model = net()
    optimizer = OPTIMIZERS["counting"](model.parameters())
    with holter.guard(model, optimizer, folder=tmp_path, on_fault="skip", read="deferred") as guard:
        for seed in range(5):
            x, y = poisoned(1).get((seed, 0)) or rows(seed=seed)
            model(x, y)[0].backward()
            optimizer.step()
            optimizer.param_groups[0]["lr"] = 1e-2 / (seed + 2)
            optimizer.zero_grad()
    assert guard.faults == 1
    assert optimizer.param_groups[0]["lr"] == 1e-2 / 6
    assert optimizer.param_groups[0]["made"] == 4


SHAPES = {
    "one piece": lambda numbers: numbers[:12].view(3, 4),
    "in another order": lambda numbers: numbers[:12].view(3, 4).t(),
    "an odd number at an odd place": lambda numbers: numbers[1:6],
    "with gaps": lambda numbers: numbers[:12].view(3, 4)[:, :3],
    "nothing": lambda numbers: numbers[:0],
    "one": lambda numbers: numbers[2],
}
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex64, torch.uint8, torch.bool]


def drawn(dtype):
    """Twelve numbers of random bits, the first a signalling NaN where 4 bytes are a number, and a view as bytes."""
    draw = torch.Generator().manual_seed(1)
    bits = torch.randint(0, 2 if dtype is torch.bool else 256, (12 * 16,), generator=draw, dtype=torch.uint8)
    if dtype is not torch.bool:
        bits[:4] = torch.tensor([0x45, 0x23, 0xA1, 0x7F], dtype=torch.uint8)
    numbers = bits.view(dtype)[:12]
    return numbers, numbers.view(torch.uint8)


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_come_back_in_every_dtype(dtype, shape, moves, monkeypatch):
    monkeypatch.setattr(copies, "PIECE", 5)
    if not moves:
        monkeypatch.setattr(copies, "moves", lambda device: False)
    before, _ = drawn(dtype)
    for flag in (1.0, 0.0):
        numbers, seen = drawn(dtype)
        live = SHAPES[shape](numbers)
        kept = copies.kept([live], torch.tensor(flag))
        live.fill_(3)
        changed = seen.clone()
        for copy in kept:
            copy.back()
        assert torch.equal(seen, before.view(torch.uint8) if flag else changed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_a_healthy_step_nothing_is_copied(dtype):
    live = torch.ones(8, dtype=dtype)
    (kept,) = copies.kept([live], torch.tensor(0.0))
    assert isinstance(kept, copies.Moved)
    for copy in kept._kept:
        copy.fill_(7.0)
    kept.back()
    assert live.tolist() == [1.0] * 8


def test_the_kernel_that_moves_is_tried_before_it_is_trusted(monkeypatch):
    device = torch.device("cpu")
    assert copies.moves.__wrapped__(device)
    inner = torch._fused_sgd_
    for other in (
        lambda waste, source, to, *, found_inf, **settings: inner(waste, source, to, found_inf=None, **settings),
        lambda waste, source, to, *, lr, **settings: inner(source, waste, to, lr=1.0, **settings),
        lambda waste, source, to, *, found_inf: None,
    ):
        monkeypatch.setattr(torch, "_fused_sgd_", other)
        assert not copies.moves.__wrapped__(device)
    monkeypatch.delattr(torch, "_fused_sgd_")
    assert not copies.moves.__wrapped__(device)


def test_what_cannot_be_copied_is_not_taken_back():
    model = Net()
    model(*rows())[0].backward()
    parameters = list(model.parameters())
    plain = torch.optim.AdamW(parameters)
    assert can_undo(plain)
    plain.state[parameters[0]]["projector"] = object()
    assert not can_undo(plain)
    assert not can_undo(torch.optim.LBFGS(parameters))


@pytest.mark.parametrize("fused", [True, False])
def test_the_series_of_a_run_whose_fault_was_read_late_is_whole_in_order_and_without_the_replay(tmp_path, fused):
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=fused)
    losses, _ = trained(model, optimizer, tmp_path, "skip", poisoned(BROKEN), read="deferred")
    rows_kept = [json.loads(line) for line in (tmp_path / "series.jsonl").read_text().splitlines()]
    kept = [(row["step"], float(row["loss"])) for row in rows_kept if "loss" in row]
    assert [step for step, _ in kept] == list(range(1, 8))
    assert [repr(value) for _, value in kept] == [repr(value) for value in losses]
    report = json.loads((tmp_path / "holter-reports" / f"step-{BROKEN + 1}.json").read_text())
    assert "just before" in json.dumps(report)  # the losses that led up to it are evidence
