"""The reported loss and the gradient equal those of one plain batch with the same rows, however it is cut up."""

import copy
import inspect

import pytest
import torch
from torch.nn.functional import cross_entropy

from holter.recipes import build
from holter.recipes.loss import TokenMean, balanced_weights

RECIPES = ["account-tax", "akkadian", "runyoro"]


def plain_step(trainer, micro_batches, weights=None):
    """Loss and gradient norm of the update, from the logits alone: one sum, one division, one backward."""
    model = copy.deepcopy(trainer.model).train()
    total, counted = 0.0, 0
    for batch in micro_batches:
        inputs = {k: v for k, v in batch.items() if k != "labels"}
        logits, labels = model(**inputs).logits, batch["labels"].reshape(-1)
        total = total + cross_entropy(
            logits.reshape(-1, logits.shape[-1]), labels, weight=weights, ignore_index=-100, reduction="sum"
        )
        counted += int((labels != -100).sum())
    loss = total / counted
    loss.backward()
    gradients = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.stack(gradients).norm().item()


def first_step(trainer, accumulation):
    batches = [batch for _, batch in zip(range(accumulation), trainer.get_train_dataloader(), strict=False)]
    expected = plain_step(trainer, batches)
    trainer.train()
    first = next(point for point in trainer.state.log_history if "grad_norm" in point)
    return expected, (first["loss"], float(first["grad_norm"])), batches


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_factor_is_one(name, accumulation, tiny, tmp_path):
    overrides = tiny(name, max_steps=1, gradient_accumulation_steps=accumulation, group_by_length=False)
    recipe = build(name, overrides=overrides, output_dir=tmp_path)
    expected, reported, batches = first_step(recipe.trainer, accumulation)
    if accumulation > 1 and name != "account-tax":
        assert len({int((b["labels"] != -100).sum()) for b in batches}) > 1  # with equal ones a mean of means is right
    assert reported[0] == pytest.approx(expected[0], rel=1e-4)
    assert reported[1] == pytest.approx(expected[1], rel=1e-4)


def test_the_libraries_own_rule_multiplies_by_accumulation(tiny, tmp_path):
    overrides = tiny("account-tax", max_steps=1, gradient_accumulation_steps=4, loss_normalisation="trainer")
    recipe = build("account-tax", overrides=overrides, output_dir=tmp_path)
    head = recipe.trainer.model.get_base_model()
    kinds = {p.kind for p in inspect.signature(head.forward).parameters.values()}
    factor = 4 if inspect.Parameter.VAR_KEYWORD in kinds else 1  # 4.51 has heads without **kwargs, which it gets right
    expected, reported, _ = first_step(recipe.trainer, 4)
    assert reported[0] == pytest.approx(factor * expected[0], rel=1e-3)
    assert reported[1] == pytest.approx(factor * expected[1], rel=1e-3)


@pytest.mark.parametrize("name", RECIPES)
def test_evaluation_loss_is_per_counted_label(name, tiny, tmp_path):
    overrides = tiny(name, per_device_eval_batch_size=5, predict_with_generate=False)
    recipe = build(name, overrides=overrides, output_dir=tmp_path)
    batches = list(recipe.trainer.get_eval_dataloader())
    assert len({len(b["labels"]) for b in batches}) > 1  # a last batch that is smaller
    recipe.trainer.model.eval()
    expected, _ = plain_step(recipe.trainer, batches)
    assert recipe.trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_evaluation_loss_is_the_same_when_text_is_generated(tiny, tmp_path):
    recipe = build("runyoro", overrides=tiny("runyoro", per_device_eval_batch_size=5), output_dir=tmp_path)
    expected, _ = plain_step(recipe.trainer, list(recipe.trainer.get_eval_dataloader()))
    assert recipe.trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_class_weights_are_additive_over_micro_batches():
    torch.manual_seed(0)
    counts = [50, 10, 1]
    weights = balanced_weights(counts, 1.0)
    logits, labels = torch.randn(12, 3), torch.randint(0, 3, (12,))
    loss = TokenMean(weights)
    whole = loss({"logits": logits}, labels, 12)
    parts = sum(loss({"logits": logits[i : i + n]}, labels[i : i + n], 12) for i, n in ((0, 5), (5, 7)))
    assert parts == pytest.approx(float(whole), rel=1e-6)
    assert float((weights * torch.tensor(counts)).sum() / sum(counts)) == pytest.approx(1.0)
    assert weights[2] / weights[0] == pytest.approx(50.0, rel=1e-5)


def test_label_smoothing_agrees_with_torch():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    labels[0, 3:] = -100
    mine = TokenMean(label_smoothing=0.1)({"logits": logits}, labels)
    wanted = cross_entropy(logits.reshape(-1, 7), labels.reshape(-1), ignore_index=-100, label_smoothing=0.1)
    assert float(mine) == pytest.approx(float(wanted), rel=1e-6)


def test_a_micro_batch_without_labels_adds_nothing():
    nothing = TokenMean()({"logits": torch.randn(2, 3, 4)}, torch.full((2, 3), -100), 10)
    assert float(nothing) == 0.0
