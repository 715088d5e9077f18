"""Small models and loops that break in one known way."""

from contextlib import nullcontext

import torch
from torch import nn

WO = "encoder.block.1.layer.1.DenseReluDense.wo"


def t5(scale=1.0):
    """A T5 whose second encoder block's feed-forward output is scaled."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0))
    with torch.no_grad():
        model.get_submodule(WO).weight.mul_(scale)
    return model


def token_batches(count, seed=1):
    draw = torch.Generator().manual_seed(seed)
    for _ in range(count):
        ids = torch.randint(1, 64, (4, 8), generator=draw)
        yield {"input_ids": ids, "labels": ids.clone()}


def fp16_loop(model, guard=None, steps=6, init_scale=2.0**10):
    """A plain loop in fp16 autocast with a gradient scaler; losses as floats."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler, losses = torch.amp.GradScaler("cpu", init_scale=init_scale), []
    with guard(model, optimizer) if guard else nullcontext():
        model.train()
        for batch in token_batches(steps):
            with torch.autocast("cpu", dtype=torch.float16):
                loss = model(**batch).loss
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


class Net(nn.Module):
    """Two layers, dropout, and a loss of its own."""

    def __init__(self, last=None):
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(4, 8), nn.Dropout(0.1), last or nn.Linear(8, 1)

    def forward(self, x, y):
        out = self.last(self.drop(self.first(x).tanh()))
        return (((out - y) ** 2).mean(), out)


class Root(nn.Module):
    """Finite forward, infinite gradient at 0."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(8, 1, bias=False)

    def forward(self, x):
        return (self.scale(x) * 0).abs().sqrt()


def rows(count=8, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=draw), torch.randn(count, 1, generator=draw)


def plain_loop(model, guard=None, steps=5, data=None, optimizer=None, accumulate=1, **options):
    """A plain fp32 loop; ``data`` maps (step, micro-batch) to a batch of its own."""
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=1e-2, **options)
    losses = []
    with guard(model, optimizer) if guard else nullcontext():
        model.train()
        for step in range(steps):
            for micro in range(accumulate):
                x, y = (data or {}).get((step, micro)) or rows(seed=step * accumulate + micro)
                loss, _ = model(x, y)
                (loss / accumulate).backward()
                losses.append(loss.item())
            optimizer.step()
            optimizer.zero_grad()
    return losses


def hooks_of(model):
    """All hooks of all modules."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, name)) for module in model.modules() for name in names)
