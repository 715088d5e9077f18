"""What the order of calls in a hand-written step is taken for."""

import pytest

from holter.readers import read

STEP = """
for i, batch in enumerate(loader):
    {loss}
    loss.backward()
    if (i + 1) % 8 == 0:
        optimizer.step()
        optimizer.zero_grad()
"""


def facts(folder, code):
    (folder / "train.py").write_text(code)
    return {name: values[0].value for name, values in read([folder]).facts.items()}


@pytest.mark.parametrize(
    ("loss", "divided"),
    [
        ("loss = model(batch).loss / 8", True),
        ("loss = model(batch).loss / accum_steps", True),
        ("loss = model(batch).loss / 1", False),
        ("loss = model(batch).loss", False),
    ],
)
def test_a_loss_divided_by_a_number(tmp_path, loss, divided):
    assert facts(tmp_path, STEP.format(loss=loss))["training_step.loss_divided"] is divided


@pytest.mark.parametrize(
    ("forward", "bypassed"),
    [
        ("loss = F.cross_entropy(net(x), y)", True),
        ("loss = model.module(x, y).loss", True),
        ("loss = F.cross_entropy(model(x), y)", False),
        ("loss = criterion(model, net(x), y)", False),
    ],
)
def test_a_forward_pass_around_the_wrapper(tmp_path, forward, bypassed):
    code = f"model = DDP(net)\nfor x, y in loader:\n    {forward}\n    loss.backward()\n    optimizer.step()\n"
    assert ("training_step.ddp_wrapper_bypassed" in facts(tmp_path, code)) is bypassed


def test_calls_in_a_lambda_are_read(tmp_path):
    (tmp_path / "a.py").write_text("ds = ds.map(lambda row: tokenizer(row, max_length=64, padding=True))\n")
    assert [call.name for call in read([tmp_path]).code[0].calls] == ["tokenizer", "ds.map"]


def test_a_count_of_what_is_not_trained_is_no_count_of_what_is(tmp_path):
    (tmp_path / "a.log").write_text("Total params: 7,000\nTrainable params: 0\nNon-trainable params: 7,000\n")
    counts = [event.data.get("trainable") for event in read([tmp_path]).events_of("trainable")]
    assert counts == [0]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("training_step.zero_grad", False, "for t in range(9):\n    f(w).backward()\n    w.data -= lr * w.grad\n"),
        (
            "training_step.zero_grad",
            True,
            "for t in range(9):\n    f(w).backward()\n    w.data -= lr * w.grad\n    w.grad.zero_()\n",
        ),
        (
            "training_step.zero_grad_outside_loop",
            True,
            "opt.zero_grad()\nfor x in dl:\n    f(x).backward()\n    opt.step()\n",
        ),
        (
            "training_step.optimizer_not_cleared",
            "opt_b",
            "opt_a.zero_grad()\nf(x).backward()\nopt_a.step()\ng(x).backward()\nopt_b.step()\n",
        ),
        (
            "training_step.micro_batch_cleared",
            True,
            "for i, x in enumerate(dl):\n    opt.zero_grad()\n    (f(x) / accum).backward()\n"
            "    if (i + 1) % accum == 0:\n        opt.step()\n",
        ),
        ("training_step.loss_divided", True, "for _ in range(accum_steps):\n    (f(x) / accum_steps).backward()\n"),
        ("training_step.loss_divided", False, "for _ in range(accum_steps):\n    f(x).backward()\n"),
    ],
)
def test_what_is_cleared_and_divided(tmp_path, name, value, code):
    assert facts(tmp_path, code)[name] == value


def test_methods_of_a_library_are_no_step(tmp_path):
    code = "class P:\n    def backward(self, t):\n        t.backward()\n    def step(self, opt):\n        opt.step()\n"
    assert "training_step.zero_grad" not in facts(tmp_path, code)


def test_the_header_of_a_loop_is_kept(tmp_path):
    (tmp_path / "a.py").write_text("for i in range(n):\n    while True:\n        loss.backward()\n")
    assert read([tmp_path]).code[0].named("backward")[0].loops == ("for i in range(n)", "while True")


@pytest.mark.parametrize(
    ("note", "name", "value"),
    [
        ("calls_per_step: [zero_grad, forward, backward, step, clip_grad_norm_]", "clip_before_step", False),
        ("calls_per_step: [zero_grad, forward, backward, clip_grad_norm_, step]", "clip_before_step", True),
        (
            "calls: x = f(b); loss.backward(); opt.step(); clip_grad_norm_(m.parameters(), 1.0)",
            "clip_before_step",
            False,
        ),
        ("order: clip_grad_norm_ -> loss.backward -> optimizer.step", "clip_before_backward", True),
        ("call_order: scaler.scale(loss).backward, clip_grad_norm_, scaler.step", "unscale_before_clip", False),
        ("calls_in_step: [loss.backward, optimizer.zero_grad, optimizer.step]", "zero_grad_before_step", True),
        ("calls_in_step: [model, loss.backward, optimizer.step]", "zero_grad", False),
        ("calls_in_step: [model, backward, step]", "zero_grad", None),
        ("order: [model, loss.backward, optimizer.step]", "zero_grad", None),
        ("stages: [model, loss.backward, optimizer.step, clip_grad_norm_]", "clip_before_step", None),
    ],
)
def test_calls_listed_in_order_are_judged_like_code(tmp_path, note, name, value):
    (tmp_path / "observed.yaml").write_text(f"{note}\n")
    found = read([tmp_path]).facts.get(f"training_step.{name}")
    assert (None if found is None else found[0].value) is value


def test_a_clip_for_the_second_of_two_optimizers_is_in_time(tmp_path):
    code = (
        "for x in loader:\n    d_loss.backward()\n    opt_d.step()\n    g_loss.backward()\n"
        "    clip_grad_norm_(g.parameters(), 1.0)\n    opt_g.step()\n"
    )
    assert facts(tmp_path, code)["training_step.clip_before_step"] is True
