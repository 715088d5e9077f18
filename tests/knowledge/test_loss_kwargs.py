"""The table of loss factors agrees with what was read in the wheels and measured on small models."""

import pytest

from holter.knowledge.loss_kwargs import drops_item_count, head_class, loss_factor, parse_version


@pytest.mark.parametrize(
    ("version", "head", "accumulation", "world", "expected"),
    [
        ("4.57.1", "Qwen3ForSequenceClassification", 2, 4, 8.0),
        ("4.57.1", "Qwen3ForSequenceClassification", 1, 1, 1.0),
        ("4.53.3", "Qwen3ForSequenceClassification", 2, 4, 1.0),
        ("4.57.1", "BertForSequenceClassification", 2, 4, 1.0),
        ("5.23.0", "BertForSequenceClassification", 2, 4, 8.0),
        ("5.23.0", "T5ForConditionalGeneration", 4, 1, 4.0),
        ("4.57.1", "T5ForConditionalGeneration", 4, 1, 1.0),
        ("5.23.0", "LlamaForCausalLM", 8, 8, 1.0),
        ("4.45.2", "LlamaForSequenceClassification", 8, 8, 1.0),
        ("4.46.1", "BertForSequenceClassification", 4, 2, 4.0),
        ("4.48.3", "ModernBertForSequenceClassification", 4, 2, 4.0),
    ],
)
def test_factor_of_the_logged_loss(version, head, accumulation, world, expected):
    assert loss_factor(version, head, accumulation, world).loss == expected


def test_one_version_scales_only_the_gradient():
    found = loss_factor("4.46.3", "BertForSequenceClassification", 4, 1)
    assert (found.loss, found.gradient) == (1.0, 4.0)


def test_switching_the_average_off_leaves_the_accumulation():
    found = loss_factor("4.57.1", "Qwen3ForSequenceClassification", 2, 4, average_tokens_across_devices=False)
    assert found.loss == 2.0


@pytest.mark.parametrize(("version", "head"), [("4.57.1", "NewThingForEverything"), ("", "BertForMaskedLM")])
def test_what_the_table_does_not_know_is_none(version, head):
    assert loss_factor(version, head, 2, 2) is None


@pytest.mark.parametrize(
    ("model", "task", "expected"),
    [
        ("Qwen/Qwen3-4B", "text classification", "Qwen3ForSequenceClassification"),
        ("google/mt5-small", "translation", "MT5ForConditionalGeneration"),
        ("google/byt5-base", "", "T5ForConditionalGeneration"),
        ("roberta-large", "AutoModelForSequenceClassification", "RobertaForSequenceClassification"),
        ("bert-base-cased", "ner", "BertForTokenClassification"),
        ("meta-llama/Llama-2-7b-hf", "sft", "LlamaForCausalLM"),
        ("own-model", "sft", ""),
    ],
)
def test_head_of_a_model_and_task(model, task, expected):
    assert head_class(model, task) == expected


def test_versions_are_compared_as_numbers():
    assert parse_version("4.6.0.dev0") < parse_version("4.46.0")
    assert parse_version("unknown") is None


def test_table_agrees_with_the_installed_library():
    transformers = pytest.importorskip("transformers")
    import inspect

    version = parse_version(transformers.__version__)
    for head in ("Qwen3ForSequenceClassification", "T5ForConditionalGeneration", "BertForSequenceClassification"):
        forward = getattr(transformers, head).forward
        takes = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(forward).parameters.values())
        assert drops_item_count(version, head) is takes
