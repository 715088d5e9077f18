"""The guard of an engine, on an engine of our own that skips as DeepSpeed's do; the real ones are in
``test_engine_reads.py``."""

import math

import pytest
import torch
from small_loops import Net, rows

import holter
from holter.errors import TrainingStopped
from holter.guard import engine as guarding


class Inner:
    """What wraps the optimizer: a gradient that is not finite is skipped."""

    check_grad_overflow = True

    def __init__(self, model):
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        self.overflow, self.loss_scale = False, 1024.0


class Engine(torch.nn.Module):
    """As much of a ``DeepSpeedEngine`` as a guard uses."""

    __module__ = "deepspeed.runtime.engine"

    def __init__(self, steps=1, dynamic=False):
        super().__init__()
        torch.manual_seed(0)
        self.module, self.accumulate, self.dynamic = Net(), steps, dynamic
        self.optimizer = Inner(self.module)
        self.skipped_steps = self.micro = 0
        self.norm = None

    def forward(self, *inputs):
        return self.module(*inputs)

    def backward(self, loss, retain_graph=False, scale_wrt_gas=True):
        (loss / self.accumulate if scale_wrt_gas else loss).backward(retain_graph=retain_graph)
        self.micro += 1

    def step(self):
        if not self.is_gradient_accumulation_boundary():
            return
        gradients = [p.grad for p in self.module.parameters()]
        self.norm = torch.stack([g.norm() for g in gradients]).norm()
        self.optimizer.overflow = not bool(torch.isfinite(self.norm))
        self.skipped_steps += self.optimizer.overflow
        if not self.optimizer.overflow:
            self.optimizer.optimizer.step()
        self.optimizer.optimizer.zero_grad()

    def is_gradient_accumulation_boundary(self):
        return self.micro % self.accumulate == 0

    def gradient_accumulation_steps(self):
        return self.accumulate

    def get_global_grad_norm(self):
        return self.norm

    def zero_optimization_stage(self):
        return 2

    def zero_cpu_offload(self):
        return False

    def fp16_enabled(self):
        return self.dynamic

    def bfloat16_enabled(self):
        return not self.dynamic

    def dynamic_loss_scale(self):
        return True


def trained(engine, steps, spoil=lambda loss, micro: loss):
    for micro in range(steps * engine.accumulate):
        loss, _ = engine(*rows(seed=micro))
        engine.backward(spoil(loss, micro))
        engine.step()


def infinite(loss):
    loss.register_hook(lambda gradient: gradient * math.inf)
    return loss


def test_skips_that_lie_far_apart_are_no_collapse(tmp_path):
    engine = Engine(dynamic=True)
    with holter.guard(engine, engine.optimizer, folder=tmp_path) as guard:
        trained(engine, 90, lambda loss, micro: infinite(loss) if micro % 3 == 2 else loss)
    assert (guard.scaler.skips, guard.faults, guard.safety.broken) == (30, 0, None)


def test_twenty_in_a_row_are(tmp_path):
    engine = Engine(dynamic=True)
    with (
        pytest.raises(TrainingStopped, match="was stopped before"),
        holter.guard(engine, engine.optimizer, folder=tmp_path),
    ):
        trained(engine, 30, lambda loss, micro: infinite(loss) if micro > 4 else loss)
    assert engine.skipped_steps == 20


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_broken_loss_far_back_in_a_long_step_is_not_forgotten(dynamic, tmp_path):
    engine = Engine(steps=70, dynamic=dynamic)  # more micro-batches than a guard keeps
    before = [p.detach().clone() for p in engine.module.parameters()]
    with (
        pytest.raises(TrainingStopped, match="step 1 was stopped before"),
        holter.guard(engine, engine.optimizer, folder=tmp_path) as guard,
    ):
        trained(engine, 1, lambda loss, micro: loss + math.nan if micro == 2 else loss)
    assert all(torch.equal(a, b) for a, b in zip(before, engine.module.parameters(), strict=True))
    assert (guard.faults, guard.scaler.skips) == (1, 0)


def test_a_second_loss_of_one_forward_pass_is_not_the_guards_to_judge(tmp_path):
    engine = Engine()
    with holter.guard(engine, engine.optimizer, folder=tmp_path) as guard:
        loss, out = engine(*rows())
        engine.backward(loss, retain_graph=True)
        engine.backward(out.sum() + math.nan)
        assert all(bool(torch.isfinite(p.grad).all()) for p in engine.module.parameters())
        engine.step()
    assert (guard.faults, engine.skipped_steps) == (0, 0)


def test_the_loss_keeps_no_hook_and_the_engine_gets_its_methods_back(tmp_path):
    engine = Engine()
    with holter.guard(engine, engine.optimizer, folder=tmp_path):
        loss, _ = engine(*rows())
        engine.backward(loss)
        assert not loss._backward_hooks
        engine.step()
        assert "backward" in vars(engine)
    assert not {"backward", "step"} & vars(engine).keys()


def test_a_guard_that_fails_does_not_keep_the_engine_from_its_steps(tmp_path, monkeypatch):
    engine = Engine()
    monkeypatch.setattr(guarding, "on_its_way", lambda flag: 1 / 0)
    with holter.guard(engine, engine.optimizer, folder=tmp_path) as guard:
        trained(engine, 3)
    assert isinstance(guard.safety.broken, ZeroDivisionError)
    assert engine.skipped_steps == 0
    assert engine.optimizer.optimizer.state[engine.module.last.weight]["step"] == 3


def test_a_fault_of_the_last_step_is_said_once_where_the_run_continues(tmp_path):
    engine = Engine()
    with holter.guard(engine, engine.optimizer, folder=tmp_path, on_fault="continue") as guard:
        trained(engine, 2, lambda loss, micro: loss + math.nan if micro == 1 else loss)
    assert guard.faults == 1
    assert (tmp_path / "events.jsonl").read_text().count('"fault"') == 1
