"""Writes the sample runs below `samples/`. All of it is invented here, and the same every time.

Usage: python scripts/make_samples.py [FOLDER]
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

FOLDER = Path(__file__).parents[1] / "samples"
Files = dict[str, str]


def trainer_line(**values: float | str) -> str:
    """A line as the transformers Trainer 4.x prints it."""
    return str(values)


def cosine(step: int, *, peak: float, warmup: int, total: int) -> float:
    """Learning rate after `step` updates of linear warmup and cosine decay."""
    if step < warmup:
        return peak * step / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def healthy() -> Files:
    """Ten classes, a small BERT, bf16: noisy, and nothing is wrong with it."""
    random = Random(1)
    lines = ["***** Running training *****", "  Num examples = 9,600", "  Total optimization steps = 600"]
    history: list[dict[str, float]] = []
    for step in range(20, 601, 20):
        loss = 0.31 + 2.05 * math.exp(-step / 130) + 0.06 * (random.random() - 0.5)
        row = {
            "loss": round(loss, 4),
            "grad_norm": round(1.1 + 3.2 * loss * (0.7 + 0.6 * random.random()) / 2, 4),
            "learning_rate": cosine(step, peak=5e-5, warmup=60, total=600),
            "epoch": round(step / 300, 2),
        }
        lines.append(trainer_line(**row))
        history.append({**row, "step": step})
        if step % 150 == 0:
            evaluation = {"eval_loss": round(loss + 0.05, 4), "eval_accuracy": round(1 - loss / 3.1, 4)}
            lines.append(trainer_line(**evaluation, epoch=row["epoch"]))
            history.append({**evaluation, "epoch": row["epoch"], "step": step})
    state = {"global_step": 600, "max_steps": 600, "logging_steps": 20, "log_history": history}
    settings = """\
    # Ten kinds of support mail, told apart by a small encoder.
    model_name_or_path: acme/bert-mini-support
    num_labels: 10
    learning_rate: 5.0e-5
    lr_scheduler_type: cosine
    warmup_steps: 60
    per_device_train_batch_size: 32
    num_train_epochs: 2
    max_grad_norm: 1.0
    bf16: true
    logging_steps: 20
    """
    return {
        "train.log": "\n".join(lines) + "\n",
        "trainer_state.json": json.dumps(state, indent=2) + "\n",
        "training.yaml": dedent(settings),
    }


BYT5_SCRIPT = '''\
    """Fine-tune ByT5 to turn dialect spelling into standard spelling."""
    from dataclasses import dataclass

    from transformers import Seq2SeqTrainingArguments, T5ForConditionalGeneration


    @dataclass
    class Config:
        model_name: str = "google/byt5-small"
        fp16: bool = False
        learning_rate: float = 2e-4
        warmup_ratio: float = 0.05
        max_source_length: int = 384


    def build(config: Config):
        model = T5ForConditionalGeneration.from_pretrained(config.model_name)
        arguments = Seq2SeqTrainingArguments(
            output_dir="out",
            fp16=config.fp16,
            learning_rate=config.learning_rate,
            warmup_ratio=config.warmup_ratio,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
        )
        return model, arguments
    '''
BYT5_CELLS = [
    ["# Spelling, second attempt\n"],
    [
        "from dataclasses import dataclass\n",
        "\n",
        "@dataclass\n",
        "class Config:\n",
        '    model_name: str = "google/byt5-small"\n',
        "    fp16: bool = True  # twice as fast on this card\n",
        "    learning_rate: float = 2e-4\n",
        "    warmup_ratio: float = 0.05\n",
        "    max_source_length: int = 384\n",
    ],
    ["trainer = make_trainer(Config())\n", "trainer.train()\n"],
]


def fp16_overflow() -> Files:
    """ByT5 in fp16: the script says fp16=False, the notebook that really ran says True."""
    lines = ["***** Running training *****", "  Num examples = 2,048", "  Total optimization steps = 640"]
    for step in range(10, 161, 10):
        lines.append(trainer_line(loss=0.0, grad_norm=math.nan, learning_rate=0.0, epoch=round(step / 128, 2)))
        if step % 80 == 0:
            lines.append(trainer_line(eval_loss=math.nan, eval_bleu=0.0, eval_chrf=0.0, epoch=round(step / 128, 2)))
    return {
        "train.log": "\n".join(lines) + "\n",
        "train.py": dedent(BYT5_SCRIPT),
        "train.ipynb": notebook(BYT5_CELLS),
        "requirements.txt": "torch==2.4.1\ntransformers==4.44.2\naccelerate==0.34.2\n",
    }


def notebook(cells: list[list[str]]) -> str:
    """A Jupyter notebook of code cells; the first one is Markdown."""
    content = [
        {"cell_type": "markdown", "metadata": {}, "source": cells[0]},
        *(
            {"cell_type": "code", "execution_count": i, "metadata": {}, "outputs": [], "source": cell}
            for i, cell in enumerate(cells[1:], start=1)
        ),
    ]
    return json.dumps({"cells": content, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def loss_scale() -> Files:
    """280 classes on four cards with accumulation 2: loss and gradient arrive multiplied by eight."""
    random = Random(3)
    lines = []
    for step in range(1, 41):
        true_loss = 6.05 - 0.012 * step + 0.12 * (random.random() - 0.5)
        norm = 21.0 + 2.0 * (random.random() - 0.5)
        rate = 2e-5 * step / 500
        lines.append(f"Step {step}: loss={8 * true_loss:.2f}, grad_norm={8 * norm:.2f}, lr={rate:.2e}")
    settings = """\
    # Which of 280 ledger accounts a line item belongs to.
    model:
      model_name_or_path: Qwen/Qwen3-0.6B
      num_labels: 280
    lora:
      r: 16
      lora_alpha: 32
      target_modules: [q_proj, k_proj, v_proj, o_proj]
      modules_to_save: [score]
    training:
      per_device_train_batch_size: 16
      gradient_accumulation_steps: 2
      learning_rate: 2.0e-5
      warmup_steps: 500
      max_steps: 20000
      max_grad_norm: 1.0
      bf16: true
      optim: adamw_torch
    distributed:
      num_processes: 4
    """
    model = {
        "architectures": ["Qwen3ForSequenceClassification"],
        "model_type": "qwen3",
        "num_hidden_layers": 28,
        "pad_token_id": 151643,
        "vocab_size": 151936,
        "id2label": {str(i): f"account-{i:03d}" for i in range(280)},
    }
    return {
        "run.log": "\n".join(lines) + "\n",
        "training.yml": dedent(settings),
        "config.json": json.dumps(model) + "\n",
        "requirements.txt": "torch==2.8.0\ntransformers==4.57.1\naccelerate==1.10.1\npeft==0.17.1\n",
    }


def labels_masked() -> Files:
    """The marker of the answer is cut off by max_length, so no token is left to learn from."""
    lines = ["***** Running training *****", "  Num examples = 1,200", "  Total optimization steps = 300"]
    for step in range(5, 101, 5):
        rate = cosine(step, peak=1e-4, warmup=9, total=300)
        lines.append(trainer_line(loss=0.0, grad_norm=0.0, learning_rate=rate, epoch=round(step / 100, 2)))
    settings = """\
    model_name_or_path: acme/assistant-1b
    task: sft
    max_length: 128
    learning_rate: 1.0e-4
    warmup_ratio: 0.03
    num_train_epochs: 3
    bf16: true
    """
    observed = """\
    # Counted by hand in the first 64 rows.
    supervised_tokens_per_row: 0
    prompt_tokens_per_row_median: 411
    share_of_labels_minus_100: 1.0
    """
    return {
        "train.log": "\n".join(lines) + "\n",
        "sft.yaml": dedent(settings),
        "observed.yaml": dedent(observed),
    }


def unsettled() -> Files:
    """Only the log of a run that is nan from the first step on: precision, labels and attention all look like this."""
    lines = ["***** Running training *****", "  Num examples = 5,000", "  Total optimization steps = 900"]
    for step in range(10, 101, 10):
        rate = cosine(step, peak=3e-5, warmup=90, total=900)
        lines.append(trainer_line(loss=math.nan, grad_norm=math.nan, learning_rate=rate, epoch=round(step / 300, 2)))
    return {"train.log": "\n".join(lines) + "\n"}


def dedent(text: str) -> str:
    """The text without the four blanks that it is indented by in this file."""
    return "\n".join(line.removeprefix("    ") for line in text.splitlines()).rstrip() + "\n"


SAMPLES: dict[str, Callable[[], Files]] = {
    "healthy": healthy,
    "fp16-overflow": fp16_overflow,
    "loss-scale": loss_scale,
    "labels-masked": labels_masked,
    "unsettled": unsettled,
}


def sample_files() -> Iterator[tuple[str, str]]:
    """Path below the folder of samples, and text, of every file."""
    for name, make in SAMPLES.items():
        for file, text in make().items():
            yield f"{name}/{file}", text


def main(folder: Path) -> None:
    """Write all samples."""
    for path, text in sample_files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    print(f"wrote {len(SAMPLES)} sample runs to {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
