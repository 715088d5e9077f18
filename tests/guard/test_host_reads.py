"""What a guard reads back from the device in a healthy step, counted on a CPU that is taken for an accelerator."""

import math
from contextlib import nullcontext
from functools import wraps
from itertools import pairwise

import accounting_cases as cases
import pytest
import torch
from device import Reads, simulated
from small_loops import Net, fp16_loop, rows, t5, token_batches
from transformers import TrainerCallback

import holter
from holter.errors import TrainingStopped
from holter.guard import parts, undo

FIRST, LAST = 3, 9  # after the account of step 1, before the 20th step's look at what moves and the 25th's bulk
COUNTED = LAST - FIRST
NUMBERS = 2  # the joined loss and norm; a list of them is one transfer, and counted here number by number
LIMIT = 450  # bytes: more than the largest weight of `Net` with Adam's states, less than two of them


@pytest.fixture
def accelerator(monkeypatch):
    """Numbers are taken to lie on a device."""
    return simulated(monkeypatch)


@pytest.fixture
def large(monkeypatch):
    """A model whose every weight is too large for a copy."""
    monkeypatch.setattr(undo, "SMALL", 1)


@pytest.fixture
def in_parts(monkeypatch):
    """A model too large for a copy, whose weights by themselves are not."""
    monkeypatch.setattr(undo, "SMALL", 1)
    monkeypatch.setattr(parts, "limit_of", lambda device: LIMIT)


def reads(guard, optimizer, device, *, scaled=False, waits="never", clips=True, accumulate=1, between=None):
    """Reads in the steps from `FIRST` to `LAST` of a loop that reads its own loss ``before`` or ``after`` the backward
    pass, or ``never``; ``between`` changes the gradients by hand."""
    torch.manual_seed(0)
    model = Net().train()
    made = optimizer(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, enabled=scaled)
    counted = 0
    with guard(model, made) if guard else nullcontext() as watching:
        for step in range(LAST):
            with Reads(device) as seen:
                for micro in range(accumulate):
                    loss, _ = model(*rows(seed=step * accumulate + micro))
                    if waits == "before":
                        loss.item()
                    scaler.scale(loss).backward()
                    if waits == "after":
                        loss.item()
                if between:
                    between(model)
                scaler.unscale_(made)
                if clips:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(made)
                scaler.update()
                made.zero_grad()
            counted += seen.count if step >= FIRST else 0
    assert watching is None or (watching.safety.broken, watching.faults) == (None, 0)
    return counted


class Unknown(torch.optim.SGD):
    """Somebody's own, which could do anything."""


OPTIMIZERS = {
    "fused AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
    "fused SGD": lambda p: torch.optim.SGD(p, lr=1e-2, fused=True),
    "foreach AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=True),
    "for-loop AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=False),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=1e-2, foreach=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    "unknown": lambda p: Unknown(p, lr=1e-2),
}
OTHERS = ["foreach AdamW", "for-loop AdamW", "Adafactor", "SGD"]


def guard_in(folder, **settings):
    return lambda model, optimizer: holter.guard(model, optimizer, folder=folder, **{"read": "deferred", **settings})


def more(folder, name, device, settings=None, **loop):
    """Reads of a guarded loop beyond those of the same without."""
    guarded = reads(guard_in(folder, **(settings or {})), OPTIMIZERS[name], device, **loop)
    return guarded - reads(None, OPTIMIZERS[name], device, **loop)


@pytest.mark.parametrize("name", ["fused AdamW", "fused SGD"])
def test_a_fused_optimizer_reads_nothing(name, tmp_path, accelerator):
    assert more(tmp_path, name, accelerator) == 0


@pytest.mark.parametrize("settings", [{}, {"on_fault": "continue"}])
@pytest.mark.parametrize("name", ["foreach AdamW", "Adafactor", "fused AdamW"])
def test_under_a_gradient_scaler_nothing_more_is_read_than_the_scaler_reads(name, settings, tmp_path, accelerator):
    assert more(tmp_path, name, accelerator, settings, scaled=True) == 0
    if not name.startswith("fused"):
        assert reads(None, OPTIMIZERS[name], accelerator, scaled=True) >= COUNTED  # so the count can see one


@pytest.mark.parametrize("on_fault", ["stop", "skip", "continue"])
@pytest.mark.parametrize("clips", [True, False])
@pytest.mark.parametrize("name", OTHERS)
def test_a_loop_that_reads_its_loss_after_the_backward_pass_reads_no_more(
    name, clips, on_fault, tmp_path, accelerator, large
):
    assert more(tmp_path, name, accelerator, {"on_fault": on_fault}, waits="after", clips=clips) == 0


@pytest.mark.parametrize("accumulate", [2, 3])
def test_with_accumulation_too(accumulate, tmp_path, accelerator, large):
    assert more(tmp_path, "foreach AdamW", accelerator, waits="after", accumulate=accumulate) == 0


@pytest.mark.parametrize("waits", ["before", "never"])
@pytest.mark.parametrize("name", OTHERS)
def test_in_a_loop_that_does_not_wait_a_small_step_is_taken_back_by_its_flag(name, waits, tmp_path, accelerator):
    assert more(tmp_path, name, accelerator, waits=waits) == 0


@pytest.mark.parametrize("waits", ["before", "never"])
@pytest.mark.parametrize("name", OTHERS)
def test_and_a_large_one_part_by_part(name, waits, tmp_path, accelerator, in_parts):
    assert more(tmp_path, name, accelerator, waits=waits) == 0


@pytest.mark.parametrize("name", OTHERS)
def test_a_parameter_too_large_for_a_copy_is_waited_for_once(name, tmp_path, accelerator, large):
    assert more(tmp_path, name, accelerator) == COUNTED


@pytest.mark.parametrize("settings", [{}, {"on_fault": "continue"}])
def test_a_large_optimizer_that_nobody_knows_is_waited_for_once(settings, tmp_path, accelerator, large):
    assert more(tmp_path, "unknown", accelerator, settings) == NUMBERS * COUNTED


def test_a_run_that_continues_is_told_before_the_step(tmp_path, accelerator, in_parts):
    assert more(tmp_path, "foreach AdamW", accelerator, {"on_fault": "continue"}) == NUMBERS * COUNTED


@pytest.mark.parametrize(("name", "expected"), [("foreach AdamW", 0), ("unknown", NUMBERS * COUNTED)])
def test_gradients_changed_by_hand_are_looked_at_again(name, expected, tmp_path, accelerator, in_parts):
    def divide(model):
        for parameter in model.parameters():
            parameter.grad.div_(2)

    assert more(tmp_path, name, accelerator, waits="after", between=divide) == expected


def test_a_value_put_into_a_gradient_by_hand_is_still_seen(tmp_path, accelerator, large):
    def spoil(model):
        model.last.bias.grad.fill_(math.inf)

    with pytest.raises(TrainingStopped, match="step 1 was stopped"):
        reads(guard_in(tmp_path), OPTIMIZERS["foreach AdamW"], accelerator, waits="after", clips=False, between=spoil)


def test_an_infinity_that_is_clamped_before_the_step_is_no_fault(tmp_path, accelerator, large):
    def clamp(model):
        model.last.bias.grad.fill_(math.inf)
        torch.nn.utils.clip_grad_value_(model.parameters(), 1.0)

    reads(guard_in(tmp_path), OPTIMIZERS["foreach AdamW"], accelerator, waits="after", clips=False, between=clamp)
    assert not (tmp_path / "events.jsonl").exists()


def scaled_loop(folder, *, fused, read, init_scale=2.0**10, unscale=True, spoil=None, enabled=True, **settings):
    """Losses, last scale and guard of a loop in fp16 autocast; ``spoil`` maps a step to what breaks its loss."""
    model, losses = t5().train(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=init_scale, enabled=enabled)
    context = holter.guard(model, optimizer, folder=folder, read=read, **settings) if folder else nullcontext()
    with context as guard:
        for step, batch in enumerate(token_batches(5)):
            with torch.autocast("cpu", dtype=torch.float16):
                loss = model(**batch).loss
            loss = loss + spoil[step] if spoil and step in spoil else loss
            scaler.scale(loss).backward()
            if unscale:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses, scaler.get_scale(), guard


@pytest.mark.parametrize("read", ["step", "deferred"])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("init_scale", "unscale"), [(2.0**10, True), (2.0**40, True), (2.0**40, False)])
def test_a_scaler_that_finds_its_scale_is_left_alone(fused, read, init_scale, unscale, tmp_path):
    options = {"fused": fused, "read": read, "init_scale": init_scale, "unscale": unscale}
    plain = scaled_loop(None, **options)
    losses, scale, guard = scaled_loop(tmp_path, **options)
    assert (losses, scale) == plain[:2]
    assert guard.faults == 0
    assert guard.safety.broken is None
    assert guard.scaler.skips == (5 if init_scale > 2.0**20 else 0)


@pytest.mark.parametrize(("fused", "read", "seen"), [(True, "step", 2), (True, "deferred", 2), (False, "auto", 2)])
def test_a_broken_loss_stops_a_scaled_run_although_its_gradient_is_finite(fused, read, seen, tmp_path):
    with pytest.raises(TrainingStopped, match="step 3 was stopped"):
        scaled_loop(tmp_path, fused=fused, read=read, spoil={seen: math.nan})


def test_a_scaler_that_is_off_leaves_the_gradients_to_the_guard(tmp_path):
    with pytest.raises(TrainingStopped, match="step 2 was stopped"):
        scaled_loop(tmp_path, fused=False, read="auto", enabled=False, spoil={1: math.inf})


def test_a_flag_that_is_still_under_way_at_the_end_is_said(tmp_path, accelerator):
    torch.manual_seed(0)
    model = Net().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    with holter.guard(model, optimizer, folder=tmp_path, read="deferred") as guard:
        x, y = rows()
        before = [p.detach().clone() for p in model.parameters()]
        (model(x, y)[0] * math.nan).backward()
        optimizer.step()
    assert guard.faults == 1
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert "step 1 is not finite" in (tmp_path / "events.jsonl").read_text()


def test_fp16_losses_are_the_same_with_a_flag_of_the_guard_in_the_scalers(tmp_path):
    assert fp16_loop(t5(), guard_in(tmp_path)) == fp16_loop(t5())


def trained(device, folder=None, **options):
    """Losses of each micro-batch, and the reads of each step, of a real Trainer."""
    marks, losses = [], []

    class Marks(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            marks.append(seen.count)

    class Noting(cases.Trainer):
        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            losses.append(loss.detach())
            return loss

    guard = [holter.Guard(folder=folder, read="deferred")] if folder else []
    plan = {"max_steps": LAST + 1, "logging_steps": 1000, "trainer_class": Noting, "callbacks": [Marks(), *guard]}
    trainer = cases.build("Qwen3ForCausalLM", **{"accumulation": 1, **plan, **options})
    with Reads(device) as seen:
        trainer.train()
    assert not folder or (guard[0].core.safety.broken, guard[0].core.faults) == (None, 0)
    return [float(v) for v in losses], [after - before for before, after in pairwise(marks)][FIRST:LAST]


@pytest.mark.parametrize("optim", ["adamw_torch", "adafactor", "sgd", "adamw_torch_fused"])
def test_a_trainer_that_filters_its_losses_reads_no_more_with_a_guard(optim, tmp_path, accelerator, large):
    plain, guarded = (trained(accelerator, folder, optim=optim) for folder in (None, tmp_path))
    assert guarded == plain
    assert min(plain[1]) >= 1  # the filter's own


@pytest.mark.parametrize("max_grad_norm", [1.0, 0.0])
def test_with_gradient_accumulation_too(max_grad_norm, tmp_path, accelerator, large):
    options = {"optim": "adamw_torch", "accumulation": 3, "max_grad_norm": max_grad_norm}
    plain, guarded = (trained(accelerator, folder, **options) for folder in (None, tmp_path))
    assert guarded == plain


@pytest.mark.parametrize("optim", ["adamw_torch", "adafactor", "sgd"])
def test_without_the_filter_nothing_is_read_of_a_small_model_nor_of_one_in_parts(
    optim, tmp_path, accelerator, monkeypatch
):
    options = {"optim": optim, "logging_nan_inf_filter": False}
    plain = trained(accelerator, **options)
    assert trained(accelerator, tmp_path / "small", **options) == plain
    monkeypatch.setattr(undo, "SMALL", 1)
    waited = trained(accelerator, tmp_path / "waited", **options)
    assert waited[0] == plain[0]
    assert [after - before for before, after in zip(plain[1], waited[1], strict=True)] == [1] * COUNTED
    monkeypatch.setattr(parts, "limit_of", lambda device: 1 << 16)
    assert trained(accelerator, tmp_path / "parts", **options) == plain


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_trainer_is_stopped_before_the_weights_are_touched_by_a_flag_asked_ahead(
    accumulation, tmp_path, accelerator, large, monkeypatch
):
    import transformers

    inner, seen = transformers.Qwen3ForCausalLM.forward, []

    @wraps(inner)
    def forward(self, *args, **kwargs):
        out = inner(self, *args, **kwargs)
        if torch.is_grad_enabled():
            seen.append([p.detach().clone() for p in self.parameters()])
        if len(seen) == 3 * accumulation:
            out.loss = out.loss * math.nan
        return out

    monkeypatch.setattr(transformers.Qwen3ForCausalLM, "forward", forward)
    guard = holter.Guard(folder=tmp_path, read="deferred", save_capsule=False)
    options = {"max_steps": 6, "optim": "adamw_torch", "callbacks": [guard]}
    trainer = cases.build("Qwen3ForCausalLM", accumulation=accumulation, **options)
    with Reads(accelerator), pytest.raises(TrainingStopped, match="step 3 was stopped"):
        trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(trainer.model.parameters(), seen[3 * accumulation - 1], strict=True))
    assert not torch.equal(next(iter(seen[0])), next(iter(seen[3 * accumulation - 1])))
