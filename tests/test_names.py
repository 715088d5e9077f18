"""One table of names: every spelling has one meaning, and general words below foreign parents have none."""

import pytest

from holter.names import NAMES, config_name, meaning_of, metric_name, series_name


def test_every_spelling_belongs_to_one_name():
    for kind in ("series", "config"):
        owner = {}
        for row in NAMES:
            if row.kind == kind:
                for spelling in {row.name.lower(), *(s.lower() for s in row.spellings)}:
                    assert owner.setdefault(spelling, row.name) == row.name, spelling


def test_every_row_has_a_meaning_and_clean_spellings():
    assert len(NAMES) > 150
    for row in NAMES:
        assert row.meaning and row.name == row.name.strip(), row
        assert all("," not in spelling for spelling in row.spellings), row


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("learning_rate", "learning_rate"),
        ("--learning-rate", "learning_rate"),
        ("lr", "learning_rate"),
        ("trainer.optim.lr", "learning_rate"),
        ("optimizer.params.lr", "learning_rate"),
        ("actor_rollout_ref.actor.optim.clip_grad", "max_grad_norm"),
        ("gradient_clip_val", "max_grad_norm"),
        ("gradient_clipping", "max_grad_norm"),
        ("NUM_GPUS", "world_size"),
        ("nproc_per_node", "world_size"),
        ("zero_optimization.stage", "deepspeed_stage"),
        ("fp16.enabled", "fp16"),
        ("evaluation_strategy", "eval_strategy"),
        ("accumulate_grad_batches", "gradient_accumulation_steps"),
        ("micro_batch_size", "per_device_train_batch_size"),
        ("cutoff_len", "max_length"),
        ("sequence_len", "max_length"),
        ("lora_rank", "r"),
        ("training.lora.r", "r"),
        ("base_model", "model_name_or_path"),
        ("dtype", "torch_dtype"),
        ("padding_side", "padding_side"),
    ],
)
def test_spellings_of_settings(key, name):
    assert config_name(key) == name


@pytest.mark.parametrize(
    "key", ["critic.optim.lr", "dataset.name", "data.val_files", "teacher.learning_rate", "scheduler.name", "colour"]
)
def test_what_belongs_to_something_else_is_not_taken(key):
    assert config_name(key) is None


def test_one_word_means_another_thing_to_another_tool():
    assert config_name("train_batch_size") == "per_device_train_batch_size"
    assert config_name("train_batch_size", "deepspeed") == "effective_batch_size"
    assert config_name("torch_dtype", "config") == "checkpoint_dtype"
    assert config_name("stage", "llamafactory") == "task"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("Training Loss", "loss"),
        ("Validation Loss", "eval_loss"),
        ("train/loss", "loss"),
        ("grad norm", "grad_norm"),
        ("val_acc", "eval_accuracy"),
        ("valid_f1", "eval_f1"),
        ("eval/rouge1", "eval_rouge1"),
        ("train_loss", "train_loss"),
        ("rewards/chosen", "rewards/chosen"),
    ],
)
def test_spellings_of_logged_quantities(key, name):
    assert series_name(key) == name


def test_unknown_metrics_keep_their_name():
    assert series_name("surf_p") is None
    assert metric_name("surf_p") == "surf_p"


def test_a_name_means_the_same_wherever_it_is_looked_up():
    for row in NAMES:
        if row.kind == "config":
            assert config_name(row.name) == row.name
    assert meaning_of("max_grad_norm").is_number
    assert not meaning_of("optim").is_number
