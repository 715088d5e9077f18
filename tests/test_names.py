"""One table of names: every spelling has one meaning, and general words below foreign parents have none."""

import pytest

from holter.names import NAMES, config_name, meaning_of, metric_name, series_name, told_name


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


STYLES = {
    "snake": lambda words: "_".join(words),
    "dashes": lambda words: "-".join(words),
    "blanks": lambda words: " ".join(words),
    "title": lambda words: " ".join(words).capitalize(),
    "upper": lambda words: "_".join(words).upper(),
    "camel": lambda words: words[0] + "".join(map(str.capitalize, words[1:])),
    "mine": lambda words: "_".join(["my", *words]),
    "seen": lambda words: "_".join([*words, "seen"]),
    "below a parent": lambda words: f"results.{'_'.join(words)}",
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["train_loss", "grad_norm", "first_loss", "loss_after_resume", "rows_in_both_splits"])
def test_what_somebody_noted_has_one_name_in_every_style(name, style):
    assert told_name(STYLES[style](name.split("_"))) == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("loss_first", "first_loss"),
        ("loss_train", "train_loss"),
        ("after_resume_loss", "loss_after_resume"),
        ("norm_grad", "grad_norm"),
        ("tokens_seen", "tokens_seen"),
        ("nan_first_seen", "nan_first_seen"),
        ("observed", "observed"),
        ("AutoTokenizer", "AutoTokenizer"),
        ("lm_head.weight_in_checkpoint", "lm_head.weight_in_checkpoint"),
        ("environment.padding_seen", "environment.padding_seen"),
        ("The answer to the first question of the user is", "The answer to the first question of the user is"),
    ],
)
def test_names_whose_words_stand_elsewhere(written, name):
    assert told_name(written) == name


@pytest.mark.parametrize(
    "key", ["baseLr", "learningRate", "numDevices", "perDeviceTrainBatchSize", "useLoRA", "BASE_LR"]
)
def test_settings_in_camel_case_are_known(key):
    assert config_name(key) is not None
