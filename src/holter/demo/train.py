"""Fine-tune a small Qwen3 to sort short line items into 280 accounts.

An ordinary script, as people write them. Something in it is wrong; `holter demo` finds out what.
"""

import random
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForSequenceClassification, Trainer, TrainingArguments, set_seed

import holter

NUM_LABELS = 280
WORDS = 600
LENGTH = 12
ROWS = 2048


class LineItems(torch.utils.data.Dataset):
    """Rows of word ids; the first words of a row decide its account."""

    def __init__(self, seed, rows=ROWS):
        draw = random.Random(seed)
        self.rows = []
        for _ in range(rows):
            label = min(int(draw.expovariate(0.02)), NUM_LABELS - 1)
            words = [10 + label, 10 + NUM_LABELS + label % 17] + [draw.randrange(400, WORDS) for _ in range(LENGTH - 2)]
            self.rows.append({"input_ids": torch.tensor(words), "labels": torch.tensor(label)})

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def build(overrides=None):
    """The trainer; `overrides` replace arguments of TrainingArguments."""
    torch.set_num_threads(1)
    set_seed(7)
    config = Qwen3Config(
        vocab_size=WORDS,
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=24,
        num_labels=NUM_LABELS,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    settings = {
        "output_dir": str(Path(__file__).with_name("run")),
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-3,
        "warmup_steps": 5,
        "max_steps": 20,
        "logging_steps": 1,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
    }
    settings.update(overrides or {})
    accepts_loss_kwargs = settings.pop("model_accepts_loss_kwargs", None)
    model = Qwen3ForSequenceClassification(config)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**settings),
        train_dataset=LineItems(seed=1),
        callbacks=[holter.Guard(save_accounting=True)],
    )
    if accepts_loss_kwargs is not None:
        trainer.model_accepts_loss_kwargs = accepts_loss_kwargs
    return trainer


if __name__ == "__main__":
    build().train()
