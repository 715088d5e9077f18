"""DIS010 forward-around-wrapper."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, plain, seen, written
from holter.checks.script import last_part, receiver, texts
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Run
from holter.stages import Stage

WRAPPERS = ("DistributedDataParallel", "DDP")
INSIDE = regex(r"^(?:self\.)?(\w+)\.module(?: if .*)?$|^(?:self\.)?(\w+)\.module if ")
UNWRAPS = regex(r"^(?:unwrap\w*|de_parallel|transform_\w*ddp\w*|strip_ddp|get_unwrapped\w*|remove_ddp\w*)$", re.I)
NOT_FORWARD = frozenset(
    [
        "save_pretrained",
        "state_dict",
        "load_state_dict",
        "parameters",
        "named_parameters",
        "named_modules",
        "modules",
        "children",
        "train",
        "eval",
        "generate",
        "sample",
        "to",
        "cpu",
        "cuda",
        "half",
        "float",
        "bfloat16",
        "requires_grad_",
        "zero_grad",
        "no_sync",
        "push_to_hub",
        "disable_adapter",
        "print_trainable_parameters",
        "get_input_embeddings",
        "get_output_embeddings",
        "resize_token_embeddings",
        "register_buffer",
        "apply",
        "set_adapter",
        "merge_adapter",
        "unmerge_adapter",
        "save",
        "load",
        "save_checkpoint",
        "gradient_checkpointing_enable",
        "gradient_checkpointing_disable",
        "configure_optimizers",
        "get_base_model",
        "add_adapter",
        "enable_adapters",
        "disable_adapters",
        "set_epoch",
        "update",
        "step",
        "estimate_mfu",
        "get_optim_groups",
        "get_num_params",
        "num_parameters",
        "summary",
        "share_memory",
        "save_lora",
        "save_adapter",
        "get_submodule",
        "named_children",
        "named_buffers",
        "buffers",
        "init_weights",
        "reset_parameters",
        "setup_caches",
        "reset_caches",
        "clip_grad_norm_",
        "get_parameter",
        "reset",
        "set_train",
        "train_mode",
        "no_weight_decay",
    ]
)
"""Methods of a module that compute no loss."""

WITHOUT_GRADIENT = regex(r"no_grad|inference_mode|is_main|is_local_main|rank == 0|local_rank|not .*train|eval", re.I)
MEASURES = regex(
    r"eval|valid|test|sample|generat|infer|save|log|predict|export|push|merge|load|ema|sync|ckpt|checkpoint|init", re.I
)
COMPUTES = regex(r"loss|forward|train_step|training_step", re.I)
LOSS = regex(r"loss", re.I)
DDP = regex(r"\bDDP\b|DistributedDataParallel|ddp", re.I)
REDIRECTS = regex(r"redirect|deepspeed|zero3|zero_3|fsdp", re.I)
SYNC_SWITCH = "require_backward_grad_sync"


class ForwardAroundWrapper(Check):
    """What it looks for
        A training step that calls the module inside DistributedDataParallel: by another name for ``model.module``,
        after unwrapping, or as the model from which the wrapped layers were taken. Also a switch of the exchange that
        is set between forward and backward, and a wrapped model that is moved to another device and used on.

    Why it hurts
        DDP prepares the exchange of gradients in its own ``forward``. Round it, each process trains on its own samples
        alone, and the weights drift apart without any message.

    How to fix it
        Call the wrapper; put what the step computes into ``forward``. Set the switch before the forward pass, or use
        ``no_sync()`` around both.

    When to ignore it
        Without gradients (sampling, evaluation), and where gradients are reduced by hand.

    Threshold
        None: names are followed through the script.

    Sources
        PyTorch's notes on DistributedDataParallel, "Internal Design", and its ``no_sync``.
    """

    code = "DIS010"
    name = "forward-around-wrapper"
    title = "The forward pass goes round the distributed wrapper"
    severity = Severity.ERROR
    stage = Stage.BACKWARD
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "by another name",
            "wrapped = DDP(net, device_ids=[0])\ninner = wrapped.module\n"
            "loss = mse(inner.decode(z), x)\nloss.backward()\n",
        ),
        script(
            "unwrapped",
            "plain = model.module if isinstance(model, DistributedDataParallel) else model\n"
            "out = plain(ids)\nloss = f(out)\nloss.backward()\n",
        ),
        script(
            "layers were wrapped, the model is called",
            "layers = Layers(unet.processors)\nlayers, opt = accelerator.prepare(layers, opt)\n"
            "pred = unet(x, t).sample\naccelerator.backward(mse(pred, y))\n",
        ),
        script(
            "the switch is late",
            "model = DDP(model)\nfor i in range(n):\n    loss = model(x) / n\n"
            "    model.require_backward_grad_sync = i == n - 1\n    loss.backward()\n",
        ),
        script(
            "moved",
            "model = DDP(net.to(rank))\ntrain_epoch(model)\nmodel.cpu()\nindex()\nmodel.to(rank)\ntrain_epoch(model)\n",
        ),
    )
    good = (
        script(
            "the wrapper",
            "wrapped = DDP(net, device_ids=[0])\ninner = wrapped.module\n"
            "loss = mse(wrapped(z), x)\nloss.backward()\ninner.save_pretrained('out')\n",
        ),
        script(
            "without gradient",
            "wrapped = DDP(net)\ninner = wrapped.module\nwith torch.no_grad():\n    z = inner.encode(x)\n"
            "loss = wrapped(z)\nloss.backward()\n",
        ),
        script(
            "the switch first",
            "model = DDP(model)\nfor i in range(n):\n    model.require_backward_grad_sync = i == n - 1\n"
            "    loss = model(x) / n\n    loss.backward()\n",
        ),
        script(
            "the model was wrapped, too",
            "layers = Layers(unet.processors)\nunet, layers = accelerator.prepare(unet, layers)\n"
            "pred = unet(x, t).sample\naccelerator.backward(mse(pred, y))\n",
        ),
        case("one process", files={"a.py": "inner = holder.module\nloss = f(inner(x))\nloss.backward()\n"}),
        script(
            "reduced by hand",
            "inner = DDP(net).module\nloss = f(inner(x))\nloss.backward()\n"
            "for p in net.parameters():\n    dist.all_reduce(p.grad)\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first way round in each file."""
        for code in run.code:
            if code.named("all_reduce", "reduce_gradients", "average_gradients"):
                continue
            found = next(_around(run, code), None)
            if found is not None:
                message, evidence, bits = found
                yield self.finding(
                    message,
                    evidence=evidence,
                    clues=clues(message, ddp_no_gradient_sync=bits),
                    fix=Fix(summary="Call the wrapped model itself, so that its hooks exchange gradients."),
                )
                return


Found = tuple[str, list[Evidence], float]


def _around(run: Run, code: Code) -> Iterator[Found]:
    yield from _inner_forward(run, code)
    yield from _parts_wrapped(code)
    yield from _switched_late(code)
    yield from _moved(code)


def _inner_forward(run: Run, code: Code) -> Iterator[Found]:
    distributed = _distributed(run, code)
    for name, made in _inner(code):
        if not distributed or MEASURES.search(made.scope.rpartition(".")[2]):
            continue
        for call in code.calls:
            later = call.order > made.order and call.scope == made.scope
            if later and _trains_with(call, name) and _loss_follows(code, call):
                shown = Evidence(text=f"{made.target} = {written(made.value)}", source=made.source)
                yield "the module inside the distributed wrapper is called", [shown, seen(call)], 7.0


def _distributed(run: Run, code: Code) -> bool:
    kind = written(plain(run, "distributed_type", "strategy") or "")
    told = any(DDP.search(text) for text in texts(code)) or any(DDP.search(comment) for comment in code.comments)
    named = any(DDP.search(call.name) for call in code.calls)
    return bool(code.named(*WRAPPERS)) or told or named or DDP.search(kind) is not None or "MULTI_GPU" in kind


def _inner(code: Code) -> Iterator[tuple[str, Assignment]]:
    """Names bound to the module inside a wrapper."""
    for assignment in code.assignments:
        value = written(assignment.value)
        called = re.match(r"^(?:\w+\.)*(\w+)\(", value)
        unwraps = called is not None and UNWRAPS.match(called[1]) is not None
        if assignment.target.replace("_", "").isalnum() and (
            INSIDE.match(value) or unwraps or value.endswith(").module")
        ):
            yield assignment.target, assignment


def _trains_with(call: Call, name: str) -> bool:
    """Whether a call computes something of a loss with the inner module."""
    if any(WITHOUT_GRADIENT.search(guard) for guard in call.guards) or REDIRECTS.search(call.name):
        return False
    if call.name == name:
        return True
    if receiver(call) == name:
        return last_part(call.name) not in NOT_FORWARD and not MEASURES.search(last_part(call.name))
    handed = any(written(value) == name for value in call.args)
    return handed and COMPUTES.search(last_part(call.name)) is not None and not MEASURES.search(last_part(call.name))


def _loss_follows(code: Code, forward: Call) -> bool:
    if COMPUTES.search(last_part(forward.name)):
        return True
    after = [c for c in code.calls if c.order > forward.order]
    if any(last_part(c.name) == "backward" for c in after):
        return True
    return any(LOSS.search(a.target) for a in code.assignments if a.order > forward.order and a.scope == forward.scope)


def _parts_wrapped(code: Code) -> Iterator[Found]:
    """Layers of a model are wrapped, and the model, which is not, makes the forward pass."""
    for wrap in (*code.named("prepare"), *code.named(*WRAPPERS)):
        names = [written(value) for value in wrap.args]
        for name in names:
            made = next(
                (c for c in code.calls if c.target == name and c.order < wrap.order and c.scope == wrap.scope), None
            )
            owners = re.findall(r"(?<![\w.])(\w+)\.\w+", call_text(made).partition("(")[2]) if made is not None else []
            for owner in owners:
                wrapped = any(owner in _names(w) for w in (*code.named("prepare"), *code.named(*WRAPPERS)))
                forward = [
                    c for c in code.calls if c.name == owner and c.order > wrap.order and "no_grad" not in str(c.guards)
                ]
                used = any(c.name == name for c in code.calls)
                if forward and not wrapped and not used and owner not in ("self", "args", "torch", "nn", "config"):
                    yield (
                        "parts of the model are wrapped, and the model itself is called",
                        [seen(wrap), seen(forward[0])],
                        6.0,
                    )


def _names(call: Call) -> set[str]:
    return {written(value) for value in (*call.args, *call.kwargs.values())}


def _switched_late(code: Code) -> Iterator[Found]:
    for switch in code.assignments:
        owner, _, name = switch.target.rpartition(".")
        if name != SYNC_SWITCH or not switch.loop_depth:
            continue
        inside = [c for c in code.calls if c.scope == switch.scope and c.loop_depth == switch.loop_depth]
        before = [c for c in inside if c.name == owner and c.order < switch.order]
        backward = [c for c in inside if last_part(c.name) == "backward" and c.order > switch.order]
        earlier = any(a.target == switch.target and a.order < switch.order for a in code.assignments)
        if before and backward and not earlier:
            shown = Evidence(text=f"{switch.target} = {written(switch.value)}", source=switch.source)
            yield (
                "the exchange is switched after the forward pass, which has read the switch",
                [seen(before[-1]), shown],
                6.0,
            )


def _moved(code: Code) -> Iterator[Found]:
    for wrap in code.named(*WRAPPERS):
        name = wrap.target
        after = [c for c in code.calls if c.order > wrap.order and c.scope == wrap.scope]
        away = next(
            (c for c in after if name and c.name in (f"{name}.cpu", f"{name}.to") and "cpu" in call_text(c)), None
        )
        back = next(
            (c for c in after if away and c.order > away.order and c.name in (f"{name}.to", f"{name}.cuda")), None
        )
        if away is None or back is None:
            continue
        again = next((c for c in after if c.order > back.order and "train" in c.name and name in _names(c)), None)
        if again is not None:
            yield (
                "the wrapped model was moved away and back, which cuts the hooks of its exchange",
                [seen(away), seen(again)],
                5.5,
            )
