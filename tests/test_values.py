"""Values of settings in one form, and what follows from them."""

import pytest

from holter.run import Authority, Run, Source, Value
from holter.values import add, bounded, derived, normalise


def _added(key, value, **more):
    run = Run()
    add(run, key, value, template=Value(value=None, source=Source(file="x"), raw=str(value)), **more)
    return run


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("learning_rate", "2e-5", 2e-5),
        ("torch_dtype", "torch.bfloat16", "bfloat16"),
        ("torch_dtype", "half", "float16"),
        ("torch_dtype", "auto", "auto"),
        ("optim", "torch.optim.AdamW", "adamw_torch"),
        ("optim", "Adam", "adam"),
        ("optim", "paged_adamw_32bit", "paged_adamw_32bit"),
        ("lr_scheduler_type", "get_cosine_schedule_with_warmup", "cosine"),
        ("lr_scheduler_type", "StepLR", "StepLR"),
        ("max_grad_norm", "None", None),
        ("bias", "none", "none"),
        ("eval_strategy", False, "no"),
        ("adapters", "full", "none"),
        ("adapters", "LORA", "lora"),
        ("cuda_visible_devices", "0", "0"),
        ("layers_to_transform", [-6, -1], [-6, -1]),
        ("architectures", ["T5ForConditionalGeneration"], "T5ForConditionalGeneration"),
        ("source_prefix", "translate: ", "translate: "),
    ],
)
def test_normal_form(name, written, value):
    found = normalise(name, written)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "follows"),
    [
        ("fp16", {"fp16": True, "bf16": False}),
        ("fp16, 16-mixed", {"fp16": True, "bf16": False}),
        ("bf16-mixed", {"fp16": False, "bf16": True}),
        ("fp32", {"fp16": False, "bf16": False}),
        ("fp16, weights", {"torch_dtype": "float16"}),
        ("bf16, full", {"torch_dtype": "bfloat16"}),
        ("8-bit, fp16", {"load_in_8bit": True, "fp16": True, "bf16": False}),
        ("4-bit", {"load_in_4bit": True}),
        ("amp", {}),
        ("tf32", {"tf32": True}),
    ],
)
def test_precision_says_more(text, follows):
    assert dict(derived("precision", text)) == follows


def test_mixed_precision_no_settles_both():
    run = _added("mixed_precision", False)
    assert (run.get("mixed_precision"), run.get("fp16"), run.get("bf16")) == ("no", False, False)


def test_a_model_named_by_its_class_has_that_head():
    assert _added("model", "TFBartForConditionalGeneration").get("architectures") == "TFBartForConditionalGeneration"
    assert _added("model", "google/mt5-small").get("architectures") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<2000", 1999),
        (">1", 2),
        ("below 2000", 1999),
        (">= 3", 3),
        ("about 5", 5),
        ("1,000 steps", 1000),
        ("10k", 10000),
    ],
)
def test_bounds_of_counts_are_the_nearest_number_they_allow(text, value):
    assert bounded(text, whole=True) == value


def test_bounds_of_other_numbers_stay():
    assert bounded("<0.5") == 0.5
    assert bounded("10%") == pytest.approx(0.1)
    assert bounded("20 / 60") is None
    assert bounded("auto") is None


def test_a_number_is_a_number_or_becomes_a_fact():
    assert _added("max_steps", "<2000").get("max_steps") == 1999
    swept = _added("max_length", [128, 48, 16])
    assert swept.setting("max_length") is None
    assert swept.fact("max_length").value == [128, 48, 16]


def test_automatic_values_of_deepspeed_settle_nothing():
    run = _added("gradient_clipping", "auto", tool="deepspeed")
    assert run.setting("max_grad_norm") is None and run.fact("max_grad_norm").value == "auto"


def test_authority_and_raw_text_are_kept():
    run = Run()
    place = Source(file="conf.yaml", line=3)
    add(run, "lr", "2e-5", template=Value(value=None, source=place, raw="2e-5", authority=Authority.COMMAND))
    found = run.setting("learning_rate")
    assert (found.value, found.raw, found.authority, found.source) == (2e-5, "2e-5", Authority.COMMAND, place)
