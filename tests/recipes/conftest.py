"""Recipes at their smallest, for tests that look at steps rather than at learning."""

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

T5_SIZES = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_heads": 2, "num_layers": 1, "num_decoder_layers": 1}
QWEN_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}
TINY = {
    "akkadian": T5_SIZES | {"max_source_length": 64, "max_target_length": 64, "generation_max_length": 12},
    "runyoro": T5_SIZES | {"max_source_length": 32, "max_target_length": 32, "generation_max_length": 12},
    "account-tax": QWEN_SIZES | {"num_labels": 12, "r": 4, "layers_to_transform": [-1]},
}
BRIEF = {
    "train_samples": 96,
    "eval_samples": 12,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 6,
    "max_steps": 2,
    "logging_steps": 1,
    "eval_strategy": "no",
    "save_strategy": "no",
    "disable_tqdm": True,
    "use_cpu": True,
}


@pytest.fixture(scope="session")
def tiny():
    """Overrides that make a recipe as small as it can be: ``tiny(name, key=value, ...)``."""
    return lambda name, **overrides: TINY[name] | BRIEF | overrides


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Keeps sums in one order and the machine free."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def free_port():
    """A TCP port nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
