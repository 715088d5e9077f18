"""The slow, obvious way to a factor: train one real step with plain SGD and look at what happened.

The logged loss is what the Trainer reports. With SGD, learning rate 1 and no clipping, the weights move by exactly the
gradient that was applied, so its norm is the distance moved. The yardstick is one plain batch of all samples of the
step, through ``torch.nn.functional.cross_entropy`` and one ``backward()``. None of this uses the package under test.

Run as a script it prints ``{case: [loss ratio, gradient ratio]}`` for its interpreter's versions.
"""

import json
import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

SHIFTED = ("CausalLM", "LMHead")


def plain_loss(model, batch):
    """Mean cross entropy over every counted target of one batch."""
    name = type(model.get_base_model() if hasattr(model, "peft_config") else model).__name__
    logits, labels = model(**batch).logits, batch["labels"]
    if any(word in name for word in SHIFTED):
        logits, labels = logits[:, :-1], labels[:, 1:]
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))


def no_dropout(model):
    """Dropout off for good."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def ratios(name, accumulation):
    """Reported / plain loss and applied / plain gradient norm of a case's first step."""
    import accounting_cases

    options = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "max_steps": 1, "logging_steps": 1}
    trainer = accounting_cases.build(name, accumulation=accumulation, lr_scheduler_type="constant", **options)
    no_dropout(trainer.model)
    seen, step = [], trainer.training_step

    def training_step(model, inputs, *args, **kwargs):
        seen.append({k: v.clone() for k, v in inputs.items()})
        return step(model, inputs, *args, **kwargs)

    trainer.training_step = training_step
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    moved = torch.cat([(a - b.detach()).flatten() for a, b in zip(before, trainer.model.parameters(), strict=True)])
    with torch.no_grad():
        for old, now in zip(before, trainer.model.parameters(), strict=True):
            now.copy_(old)
    trainer.model.zero_grad()
    loss = plain_loss(trainer.model, {k: torch.cat([b[k] for b in seen]) for k in seen[0]})
    loss.backward()
    grads = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
    reported = next(row["loss"] for row in trainer.state.log_history if "loss" in row)
    return [reported / loss.item(), (moved.norm() / grads.norm()).item()]


def main():
    """Print the ratios of the cases given, with accumulation 3."""
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    found = {name: ratios(name, 3) for name in sys.argv[1:]}
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
