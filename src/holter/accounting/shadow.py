"""A Trainer's own training loop, run for a few steps on a copy of the Trainer object."""

from __future__ import annotations

import copy
import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from holter.accounting.snapshot import ModelState, RandomState, plain_copy
from holter.errors import TrialError

QUIET = {
    "logging_steps": 1,
    "logging_first_step": False,
    "logging_nan_inf_filter": False,
    "disable_tqdm": True,
    "load_best_model_at_end": False,
    "push_to_hub": False,
    "auto_find_batch_size": False,
    "neftune_noise_alpha": None,
    "predict_with_generate": False,
    "prediction_loss_only": True,
    "dataloader_num_workers": 0,
    "dataloader_persistent_workers": False,
    "dataloader_prefetch_factor": None,
    "eval_on_start": False,
    "use_liger_kernel": False,  # patched when the Trainer was built; a second time would do nothing new
}
OFF = {"eval_strategy": "no", "save_strategy": "no", "logging_strategy": "steps"}


class Protected:
    """Model and random state around a measurement.

    Attributes:
        restored: None before the block has ended, then whether everything was verified to be as before.
    """

    restored: bool | None = None


@contextmanager
def protected(trainer: Any) -> Iterator[Protected]:
    """Put weights, buffers, gradients, hooks, modes, configuration, optimizer and random state back on leaving.

    Raises:
        TrialError: something could not be put back; the Trainer should be built again before training.
    """
    from accelerate.state import GradientState

    model, random_state = ModelState(trainer.model), RandomState()
    shared = dict(GradientState._shared_state)
    optimizer, engine = _optimizer_state(trainer), _engine_configs(trainer)
    handle = Protected()
    try:
        yield handle
    finally:
        gc.collect()  # DDP takes its hooks off when it is collected
        model.restore()
        random_state.restore()
        GradientState._shared_state.clear()
        GradientState._shared_state.update(shared)
        _restore_optimizer(trainer, optimizer)
        for owner, name, value in engine:
            setattr(owner, name, value)
        handle.restored = model.same() and random_state.same()
    if not handle.restored:
        raise TrialError(
            "the Trainer could not be put back as it was before the measurement",
            why="a weight, a gradient or a random generator differs after restoring",
            do="build the Trainer again before training",
        )


def shadow_of(trainer: Any, *, steps: int, callback: Any) -> Any:
    """A shallow copy of ``trainer`` with its own arguments, accelerator, state and callbacks; the model is shared.

    The user's callbacks are left out, so nothing reaches trackers, files or early stopping.
    """
    from transformers import trainer_callback

    parts: Any = trainer_callback
    shadow = copy.copy(trainer)
    shadow.__dict__.update({name: plain_copy(value) for name, value in trainer.__dict__.items()})
    if hasattr(shadow.__dict__.get("train"), "holter_original"):
        del shadow.train  # a guard's wrapper would train the original
    shadow.args = _arguments(trainer.args, steps)
    if is_deepspeed(trainer):
        shadow.model = copy.deepcopy(trainer.model)  # the engine moves and recasts the tensors it is given
    shadow.model_wrapped = shadow.model
    shadow.model_init = None
    shadow.compute_metrics = None
    shadow.optimizer, shadow.lr_scheduler = _fresh_optimizer(trainer)
    shadow._created_lr_scheduler = False
    shadow.state, shadow.control = parts.TrainerState(), parts.TrainerControl()
    if is_deepspeed(trainer):
        shadow.accelerator = _own_accelerator(trainer.accelerator)
    else:
        shadow.create_accelerator_and_postprocess()
    shadow.callback_handler = parts.CallbackHandler(
        [parts.DefaultFlowCallback(), callback],
        shadow.model,
        getattr(trainer, "processing_class", None),
        shadow.optimizer,
        shadow.lr_scheduler,
    )
    return shadow


def _arguments(args: Any, steps: int) -> Any:
    ours = copy.copy(args)
    for name, value in {**QUIET, "max_steps": steps, "output_dir": tempfile.gettempdir()}.items():
        if hasattr(ours, name):
            object.__setattr__(ours, name, value)
    for name, value in OFF.items():
        if hasattr(ours, name):
            object.__setattr__(ours, name, type(getattr(ours, name))(value))
    return ours


def is_deepspeed(trainer: Any) -> bool:
    return bool(getattr(trainer, "is_deepspeed_enabled", False))


def _own_accelerator(accelerator: Any) -> Any:
    """A copy with nothing prepared: Accelerate refuses a second one with a DeepSpeed plugin."""
    own = copy.copy(accelerator)
    for name in ("_models", "_optimizers", "_schedulers", "_dataloaders"):
        setattr(own, name, [])
    own.deepspeed_engine_wrapped = None
    return own


def _engine_configs(trainer: Any) -> list[tuple[Any, str, Any]]:
    """DeepSpeed's configuration, whose "auto" entries a training fills in."""
    if not is_deepspeed(trainer):
        return []
    plugin = trainer.accelerator.state.deepspeed_plugin
    holders = [(plugin, "deepspeed_config"), (getattr(plugin, "hf_ds_config", None), "config")]
    holders.append((getattr(trainer.args, "hf_deepspeed_config", None), "config"))
    return [(owner, name, copy.deepcopy(getattr(owner, name))) for owner, name in holders if hasattr(owner, name)]


def _fresh_optimizer(trainer: Any) -> tuple[Any, Any]:
    """None lets the copy create its own; an optimizer the user built is bound to the shared tensors and is used."""
    if trainer.optimizer is None or getattr(trainer, "_created_lr_scheduler", False):
        return None, None
    return trainer.optimizer, copy.deepcopy(trainer.lr_scheduler) if trainer.lr_scheduler is not None else None


def _optimizer_state(trainer: Any) -> Any:
    optimizer = trainer.optimizer
    if optimizer is None:
        return None
    groups = [dict(group) for group in optimizer.param_groups]
    return groups, {p: copy.deepcopy(state) for p, state in optimizer.state.items()}


def _restore_optimizer(trainer: Any, saved: Any) -> None:
    if saved is None:
        return
    groups, state = saved
    for group, before in zip(trainer.optimizer.param_groups, groups, strict=True):
        group.clear()
        group.update(before)
    trainer.optimizer.state.clear()
    trainer.optimizer.state.update(state)
