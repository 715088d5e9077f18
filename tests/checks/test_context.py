"""Precision, head and kind of loss are read from what a run says, in any of the usual spellings."""

import math

import pytest

from holter.checks.context import Compute, has_plain_loss, head, precision, quantised_bits, uniform_loss
from holter.run import EVENT_OVERFLOW, Event, Source
from holter.testing import make_run


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"fp16": True}, Compute.FP16),
        ({"precision": "fp16, 16-mixed"}, Compute.FP16),
        ({"precision": "8-bit, fp16"}, Compute.FP16),
        ({"torch_dtype": "float16"}, Compute.FP16),
        ({"bf16": True}, Compute.BF16),
        ({"precision": "bf16, native"}, Compute.BF16),
        ({"precision": "fp32"}, Compute.FP32),
        ({"fp16": False}, Compute.FP32),
        ({}, Compute.UNKNOWN),
        ({"load_in_8bit": True}, Compute.UNKNOWN),
    ],
)
def test_precision(config, expected):
    assert precision(make_run(config=config)).compute is expected


def test_an_overflow_line_means_fp16():
    event = Event(kind=EVENT_OVERFLOW, text="OVERFLOW! Skipping step", source=Source(file="log.txt"))
    assert precision(make_run(events=[event])).compute is Compute.FP16


@pytest.mark.parametrize(
    ("config", "bits"), [({"load_in_4bit": True}, 4), ({"precision": "8-bit, fp16"}, 8), ({"adapters": "lora"}, None)]
)
def test_quantised_bits(config, bits):
    assert quantised_bits(make_run(config=config)) == bits


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "Qwen3ForSequenceClassification"),
        ({"model_name_or_path": "Qwen/Qwen3-4B", "num_labels": 280}, "Qwen3ForSequenceClassification"),
        ({"model_name_or_path": "google/mt5-small", "task": "translation"}, "MT5ForConditionalGeneration"),
        ({"task": "translation"}, ""),
    ],
)
def test_head(config, expected):
    assert head(make_run(config=config)) == expected


def test_yardstick_prefers_classes_to_tokens():
    assert uniform_loss(make_run(config={"num_labels": 280, "vocab_size": 32000}))[0] == math.log(280)
    assert uniform_loss(make_run(config={"vocab_size": 32000}))[0] == math.log(32000)
    assert uniform_loss(make_run()) is None


@pytest.mark.parametrize(
    "contents",
    [{"config": {"task": "dpo"}}, {"series": {"reward": [0.1]}}, {"series": {"rewards/chosen": [0.0]}}],
)
def test_preference_and_policy_losses_have_no_level(contents):
    assert not has_plain_loss(make_run(**contents))
