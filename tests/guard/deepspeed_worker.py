"""Run under torchrun: trains under one ZeRO stage without a guard, with one, and with one fault each on the second
process; rank 0 writes what came as JSON."""

import json
import logging
import math
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import accounting_cases
import torch
import torch.distributed as dist
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

import holter

CASE = "Qwen3ForSequenceClassification, compute_loss_func that counts"
FAULT_STEP = 1


def engine(stage):
    """DeepSpeed's configuration, filled in by the Trainer."""
    sizes = {"train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto"}
    zero = {"stage": stage, "stage3_param_persistence_threshold": 0}
    zero = {"zero_optimization": zero, "zero_allow_untested_optimizer": True}
    return {**sizes, **zero, "gradient_clipping": 1.0}


def plant(trainer, fault):
    """Break something on the second process from step `FAULT_STEP` on."""
    inner = trainer.compute_loss

    def compute_loss(model, inputs, *args, **kwargs):
        due = trainer.state.global_step == FAULT_STEP and int(os.environ["RANK"]) == 1
        weight = trainer.model.model.layers[1].mlp.down_proj.weight
        if due and fault == "weight":
            with torch.no_grad():
                getattr(weight, "ds_tensor", weight).view(-1)[:1] = math.nan  # its own part, which all gather
        loss = inner(model, inputs, *args, **kwargs)
        if due and fault == "loss":
            loss = loss * math.nan
        if due and fault == "gradient" and loss.requires_grad:
            loss.register_hook(lambda grad: grad * math.inf)
        return loss

    trainer.compute_loss = compute_loss


def train(stage, folder, fault=""):
    """How the training ended, its losses, and what the guard wrote."""
    unset_hf_deepspeed_config()  # the last training's would have this one's model built in parts
    guard = holter.Guard(folder=folder) if folder else None
    options = {"max_steps": 3, "logging_steps": 1, "save_strategy": "no", "deepspeed": engine(stage)}
    trainer = accounting_cases.build(CASE, accumulation=2, callbacks=[guard] if guard else [], **options)
    if fault:
        plant(trainer, fault)
    ended = "finished"
    try:
        trainer.train()
    except holter.HolterError as stopped:
        ended = str(stopped)
    ends = [None] * dist.get_world_size()
    dist.all_gather_object(ends, ended)
    found = {"ends": ends, "losses": [r["loss"] for r in trainer.state.log_history if "loss" in r]}
    if guard is not None and int(os.environ["RANK"]) == 0:
        found["broken"] = repr(guard.core.safety.broken)
        found["wrapped"] = "step" in vars(guard.core.engine)
        for name in ("facts.json", "events.jsonl"):
            found[name] = (folder / name).read_text() if (folder / name).exists() else ""
    return found


def main():
    """Write the outcome of every training."""
    torch.set_num_threads(1)
    logging.getLogger("holter").setLevel(logging.ERROR)
    folder, stage = Path(sys.argv[1]), int(sys.argv[2])
    found = {"plain": train(stage, None), "healthy": train(stage, folder / "healthy")}
    for fault in sys.argv[3:]:
        found[fault] = train(stage, folder / fault, fault)
    if int(os.environ["RANK"]) == 0:
        (folder / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
