"""The step of a large optimizer, taken back part by part: to the last bit the step of the whole."""

import json
import math
import struct
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from device import Reads, simulated
from small_loops import rows
from test_frameworks import lightning_losses
from test_on_fault import Quiet
from test_undo import OPTIMIZERS as WHOLE
from test_undo import poisoned, states

import holter
from holter.errors import TrainingStopped
from holter.guard import parts, undo
from holter.guard.parts import Parts, standing_in, steps_by_parameter

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


def trained(
    made, folder=None, data=None, seeds=STEPS, dtype=torch.bfloat16, on_step=None, before_step=None, **settings
):
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
            if before_step:
                before_step(optimizer)
            on_step(optimizer) if on_step else optimizer.step()
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


def adamw(groups):
    return torch.optim.AdamW(groups, lr=1e-2, foreach=True)


def test_hooks_schedules_and_the_profiler_see_one_step_of_the_whole_optimizer(tmp_path):
    torch.manual_seed(0)
    model, seen = Mixed().train(), []
    optimizer = adamw(groups_of(model))
    sizes = [len(group["params"]) for group in optimizer.param_groups]

    def note(name):
        return lambda hooked, args, kwargs: seen.append(
            (name, hooked is optimizer, [len(group["params"]) for group in hooked.param_groups])
        )

    optimizer.register_step_pre_hook(note("before, early"))
    optimizer.register_step_post_hook(note("after, early"))
    with holter.guard(model, optimizer, folder=tmp_path, read="deferred"):
        optimizer.register_step_pre_hook(note("before, late"))
        optimizer.register_step_post_hook(note("after, late"))
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            for seed in range(3):
                model(*rows(seed=seed))[0].backward()
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
    names = ["before, early", "before, late", "after, early", "after, late"]
    assert seen == [(name, True, sizes) for _ in range(3) for name in names]
    assert optimizer.param_groups[0]["lr"] == 1e-2 / 8
    assert optimizer._opt_called
    assert [e.count for e in profiler.key_averages() if e.key == "Optimizer.step#AdamW.step"] == [3]
    assert len(KEPT) > 1


def test_an_exception_inside_a_part_leaves_the_optimizer_as_it_was_and_training_goes_on(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = Mixed().train()
    optimizer = adamw(groups_of(model))
    groups, inner = optimizer.param_groups, torch.optim.AdamW._init_group
    calls = []

    def breaks(self, group, *args):
        calls.append(group)
        if len(calls) == 2:
            raise ValueError("a kernel failed")
        return inner(self, group, *args)

    with holter.guard(model, optimizer, folder=tmp_path, on_fault="skip", read="deferred") as guard:
        for seed in range(4):
            x, y = poisoned(2).get((seed, 0)) or rows(seed=seed)
            model(x, y)[0].backward()
            with monkeypatch.context() as patch:
                patch.setattr(torch.optim.AdamW, "_init_group", breaks)
                if seed == 0:
                    with pytest.raises(ValueError, match="a kernel failed"):
                        optimizer.step()
                else:
                    optimizer.step()
            optimizer.zero_grad()
            assert optimizer.param_groups is groups
            assert [len(group["params"]) for group in groups] == [4, 4]
            assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    assert (guard.faults, guard.safety.broken) == (1, None)


@pytest.mark.parametrize("broken", [(), (BROKEN,)])
def test_one_parameter_too_large_for_a_copy_is_waited_for_and_nothing_after_it_is_made(tmp_path, monkeypatch, broken):
    monkeypatch.setattr(parts, "limit_of", lambda device: 300)  # the first weight takes 384 bytes with its states
    found = trained(adamw, tmp_path, poisoned(*broken))
    expected = trained(adamw, seeds=[s for s in STEPS if s not in broken])
    for seed in broken:
        found[0].pop(seed)
    assert found[:3] == expected[:3]


def reads_of(device, folder, made=adamw, **options):
    """Reads within the third step and those after it, in which nothing else is due."""
    counts = []

    def step(optimizer):
        with Reads(device) as seen:
            optimizer.step()
        counts.append(seen.count)

    trained(made, folder, on_step=step, **options)
    return counts[2:]


def test_unless_training_has_had_that_memory_in_use_before(tmp_path, monkeypatch, accelerator):
    monkeypatch.setattr(parts, "limit_of", lambda device: 300)
    assert reads_of(accelerator, tmp_path / "waited") == [1, 1, 1, 1]
    monkeypatch.setattr(parts, "_spare", lambda device: 400)
    assert reads_of(accelerator, tmp_path / "spared") == [0, 0, 0, 0]


def test_what_training_has_had_is_counted_on_the_host(monkeypatch):
    counts = {"allocated_bytes.all.peak": 1000, "allocated_bytes.all.current": 400}
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: counts)
    assert parts._spare(torch.device("cuda")) == 300
    assert parts._spare(torch.device("cpu")) == 0


def test_a_copy_for_which_there_is_no_memory_is_waited_for(tmp_path, monkeypatch, accelerator):
    plain = trained(adamw)

    def full(*args):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(parts, "Undo", full)
    assert trained(adamw, tmp_path / "a")[:3] == plain[:3]
    assert reads_of(accelerator, tmp_path / "b") == [1, 1, 1, 1]


def test_a_copy_that_fails_turns_the_guard_off_and_nothing_else(tmp_path, monkeypatch, caplog):
    plain = trained(adamw)

    def fails(*args):
        raise ValueError("no copy of this")

    monkeypatch.setattr(parts, "Undo", fails)
    with pytest.raises(AssertionError):  # of this file: the guard has failed
        trained(adamw, tmp_path)
    assert "the guard failed" in caplog.text
    assert trained(adamw)[:3] == plain[:3]


def test_whoever_steps_the_optimizer_in_another_way_turns_the_guard_off(tmp_path, caplog):
    torch.manual_seed(0)
    model = Mixed().train()
    optimizer = adamw(groups_of(model))
    with holter.guard(model, optimizer, folder=tmp_path, read="deferred") as guard:
        optimizer.register_step_pre_hook(lambda hooked, args, kwargs: ((hooked, *args[1:]), kwargs))
        for seed in range(3):
            model(*rows(seed=seed))[0].backward()
            optimizer.step()
            optimizer.zero_grad()
    assert "in another way" in str(guard.safety.broken)


def by_place(groups):
    """With settings for parameters by their place in the groups, as bitsandbytes keeps them."""
    optimizer = adamw(groups)
    optimizer.mng = SimpleNamespace(index2config={(0, 1): {"lr": 1.0}}, module_weight_config_triple=[])
    return optimizer


@pytest.mark.parametrize(
    ("change", "made"),
    [
        (lambda p: setattr(p, "grad", p.grad.t().contiguous().t()), adamw),  # other kernels than for all the others
        (lambda p: setattr(p, "grad", p.grad.to_sparse()), lambda g: torch.optim.SGD(g, lr=1e-2)),
        (lambda p: None, lambda g: torch.optim.Adafactor(g, lr=1e-2)),  # takes the first one's eps
        (lambda p: None, by_place),
    ],
)
def test_where_a_part_could_differ_from_the_whole_the_flag_is_read(change, made, tmp_path, accelerator):
    def changed(optimizer):
        change(optimizer.param_groups[0]["params"][0])

    plain = trained(made, before_step=changed)
    guarded = trained(made, tmp_path / "a", before_step=changed)
    assert guarded[:3] == plain[:3]
    assert guarded[3] == 0
    own = reads_of(accelerator, None, made, before_step=changed)
    assert reads_of(accelerator, tmp_path / "b", made, before_step=changed) == [count + 1 for count in own]


def test_which_optimizers_are_known():
    weight = [torch.nn.Parameter(torch.ones(2, 2))]
    assert steps_by_parameter(torch.optim.AdamW(weight))
    assert steps_by_parameter(OPTIMIZERS["Adafactor of transformers"](weight))
    assert not steps_by_parameter(torch.optim.LBFGS(weight))
    assert not steps_by_parameter(type("AdamW", (torch.optim.AdamW,), {"__module__": "mine"})(weight))


def test_what_stands_in_shares_all_but_the_groups():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight])
    other = standing_in(optimizer, lambda: ["mine"])
    other.noted = 1
    other.state[weight]["step"] = 3
    assert (other.param_groups, optimizer.noted, optimizer.state[weight]["step"]) == (["mine"], 1, 3)
    assert isinstance(other, torch.optim.AdamW)
    assert optimizer.param_groups[0]["params"] == [weight]


@pytest.mark.filterwarnings("ignore")
def test_under_lightning_whose_closure_runs_inside_the_step(tmp_path, monkeypatch):
    plain = lightning_losses(None)
    assert lightning_losses(tmp_path / "healthy", read="deferred") == plain
    assert len(KEPT) > 4
    with pytest.raises(TrainingStopped, match="step 3 was stopped"):
        lightning_losses(tmp_path / "broken", broken=9, read="deferred")
    assert json.loads((tmp_path / "broken" / "facts.json").read_text())["replay.rows"] == [1]


def test_with_a_closure_of_a_plain_loop_each_evaluation_is_looked_at_before_the_step(tmp_path):
    torch.manual_seed(0)
    model = Mixed().train()
    optimizer = adamw(groups_of(model))
    before = [bits(p) for p in model.parameters()]

    def closure():
        loss = model(*rows())[0] * math.nan
        loss.backward()
        return loss

    guard = holter.guard(model, optimizer, folder=tmp_path, read="deferred")
    with guard, pytest.raises(TrainingStopped, match="step 1 was stopped"):
        optimizer.step(closure)
    assert [bits(p) for p in model.parameters()] == before
