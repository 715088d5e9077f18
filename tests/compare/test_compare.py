"""Two set-ups in one vocabulary: what really differs, what cannot matter, and where the series part."""

import pytest

from holter.compare import compare, normalise
from holter.finding import Evidence, Finding, Severity
from holter.knowledge.defaults import trainer_defaults
from holter.stages import Stage
from holter.testing import make_run

FIRST_LOSS = Finding(
    code="X", name="x", message="m", severity=Severity.ERROR, stage=Stage.LOSS, step=0, evidence=(Evidence(text="e"),)
)
OLD = {
    "framework": "deepspeed",
    "optim": "FusedAdam",
    "lr_scheduler_type": "WarmupCosineLR",
    "learning_rate": 1e-5,
    "warmup_ratio": 0.1,
    "torch_dtype": "torch.bfloat16",
    "gradient_accumulation_steps": 2,
    "layers_to_transform": [28, 29, 30, 31, 32, 33, 34, 35],
    "num_hidden_layers": 36,
}
NEW = {
    **OLD,
    "framework": "trainer",
    "optim": "adamw_torch",
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.01,
    "torch_dtype": "bf16",
    "layers_to_transform": [-8, -7, -6, -5, -4, -3, -2, -1],
    "pad_to_multiple_of": 8,
    "report_to": "mlflow",
}


def by_name(comparison):
    return {d.setting: d for d in comparison.differences}


def test_spellings_of_the_same_thing_are_no_difference():
    found = by_name(compare(make_run(config=OLD), make_run(config=NEW)))
    assert found.keys() == {"framework", "warmup_ratio", "pad_to_multiple_of", "report_to"}
    assert (found["warmup_ratio"].good, found["warmup_ratio"].bad) == (0.1, 0.01)


def test_differences_come_in_phases():
    phases = [d.phase for d in compare(make_run(config=OLD), make_run(config=NEW)).differences]
    assert phases == ["framework and loop", "scheduler", "data and loader", "environment"]


def test_what_cannot_have_caused_a_first_loss_is_set_aside():
    comparison = compare(make_run(config=OLD), make_run(config=NEW), symptom=FIRST_LOSS)
    found = by_name(comparison)
    assert "none had been made" in found["warmup_ratio"].set_aside
    assert "no number" in found["report_to"].set_aside
    assert {d.setting for d in comparison.standing} == {"framework", "pad_to_multiple_of"}
    assert found["framework"].severity is Severity.ERROR and found["warmup_ratio"].severity is Severity.NOTE


def test_defaults_are_filled_in_and_marked():
    good = make_run(config={"output_dir": "a", "versions.transformers": "4.57.1", "max_grad_norm": 10.0})
    bad = make_run(config={"output_dir": "a", "versions.transformers": "4.51.3"})
    found = by_name(compare(good, bad))
    assert found["max_grad_norm"].bad == 1.0 and found["max_grad_norm"].defaults == ("bad",)
    assert (found["average_tokens_across_devices"].good, found["average_tokens_across_devices"].bad) == (True, False)
    assert "versions.transformers" in found
    assert "optim" not in found, "fused and unfused AdamW are one family"


def test_no_defaults_where_the_library_was_not_used():
    assert set(normalise(make_run(config={"lr_decay": 0.1}))) == {"lr_decay"}
    assert "optim" not in trainer_defaults(None), "it changed between versions, so an unknown version fills in nothing"
    assert trainer_defaults((5, 23))["optim"] == "adamw_torch_fused"


def test_effective_batch_and_warmup_in_steps():
    config = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "world_size": 4}
    assert normalise(make_run(config=config))["effective_batch_size"].value == 32
    warm = normalise(make_run(config={"warmup_ratio": 0.03, "max_steps": 700}))
    assert warm["warmup_steps"].value == 21 and "warmup_ratio" not in warm
    both = normalise(make_run(config={"warmup_ratio": 0.03, "warmup_steps": 5}))
    assert both["warmup_steps"].value == 5 and "warmup_ratio" not in both


def test_series_are_laid_over_each_other():
    good = make_run(series={"loss": [5.0, 4.0, 3.0], "grad_norm": [1.0, 1.0, 1.0]})
    bad = make_run(series={"loss": [5.01, 4.01, float("nan")], "grad_norm": [1.0, 1.0, 1.0]})
    grad_norm, loss = compare(good, bad).overlays
    assert (grad_norm.name, grad_norm.step) == ("grad_norm", None)
    assert (loss.name, loss.step, loss.good_value) == ("loss", 3, 3.0)


def test_a_run_does_not_differ_from_itself():
    assert compare(make_run(config=NEW), make_run(config=NEW)).differences == ()


HAND = """
for step, batch in enumerate(loader):
    loss = loss_fn(model_engine(batch), batch["labels"])
    model_engine.backward(loss)
    model_engine.step()
"""
DIVIDED = """
for step, batch in enumerate(loader):
    loss = model(**batch).loss / accumulation_steps
    loss.backward()
    if (step + 1) % accumulation_steps == 0:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
"""


@pytest.mark.parametrize(("good", "bad"), [(DIVIDED, DIVIDED.replace(" / accumulation_steps", "")), (DIVIDED, HAND)])
def test_hand_written_loops_are_read_from_the_source(good, bad):
    comparison = compare(make_run(files={"a.py": good}), make_run(files={"b.py": bad}))
    loops = [d for d in comparison.differences if d.setting.startswith("training_step.")]
    assert loops and {d.phase for d in loops} == {"framework and loop"}


def test_every_setting_of_a_recipe_has_a_place_among_the_factors():
    from holter.experiments.factors import FACTORS
    from holter.recipes import config

    own = {"recipe", "profile", "guard"}
    names = {n for recipe in config.RECIPES for p in config.PROFILES for n in config.flat(config.load(recipe, p))}
    assert names - own <= FACTORS.keys()
