"""A user's own function that builds a Trainer: what `module:function` names."""

import os
import tempfile
import time

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

ROWS, LENGTH, CLASSES = 64, 8, 5


class Rows(torch.utils.data.Dataset):
    def __init__(self):
        generator = torch.Generator().manual_seed(3)
        self.ids = torch.randint(5, 50, (ROWS, LENGTH), generator=generator)

    def __len__(self):
        return ROWS

    def __getitem__(self, index):
        return {"input_ids": self.ids[index], "labels": self.ids[index, 0] % CLASSES}


def build(overrides):
    torch.set_num_threads(1)
    if overrides.pop("crash", False):
        raise RuntimeError("planted crash")
    if overrides.pop("die", False):
        os._exit(7)
    time.sleep(overrides.pop("sleep", 0))
    head_std = overrides.pop("head_std", 0.02)
    true_loss = overrides.pop("true_loss", False)
    pair = overrides.pop("left", 0) and overrides.pop("right", 0)
    set_seed(overrides.get("seed", 0))
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        num_labels=CLASSES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=10.0 if pair else head_std)
    overrides.pop("right", None)
    settings = {
        "per_device_train_batch_size": 4,
        "use_cpu": True,
        "output_dir": tempfile.gettempdir(),
        "learning_rate": 1e-3,
    }
    args = TrainingArguments(**{**settings, **overrides})
    trainer = Trainer(model=model, args=args, train_dataset=Rows())
    if true_loss:
        trainer.model_accepts_loss_kwargs = False
    return trainer


def no_overrides():
    return None


def not_a_trainer(overrides):
    return 3
