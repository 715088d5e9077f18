"""`holter fix` on whole folders as people have them: what is at fault is patched, and nothing else anywhere."""

import json

import pytest
from click.testing import CliRunner

import holter
from holter.cli import group
from holter.experiments.targets import read
from holter.fixes import plan

OVERFLOW_LOG = "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 0.0, 'epoch': 0.01}\n" * 3
EPOCHS = """Epoch\tTraining Loss\tValidation Loss\tBleu
1\t5211874.220100\tnan\t0.000000
2\t0.000000\tnan\t0.000000
"""
CLASS = (
    "@dataclass\n",
    "class Config:\n",
    "    model_name: str = 'google/byt5-small'\n",
    "    fp16: bool = {fp16}  # half the memory\n",
    "    max_source_length: int = {length}\n",
    "    learning_rate: float = {rate}\n",
    "    warmup_ratio: float = {warmup}\n",
)
CALL = (
    "args = Seq2SeqTrainingArguments(output_dir='out', fp16=cfg.fp16, learning_rate=cfg.learning_rate,\n",
    "                                warmup_ratio=cfg.warmup_ratio)\n",
)
CLASSIFIER = """from transformers import Qwen3ForSequenceClassification, Trainer, TrainingArguments


def main():
    model = Qwen3ForSequenceClassification.from_pretrained("Qwen/Qwen3-0.6B", num_labels=280)
    args = TrainingArguments(
        output_dir="out",
        gradient_accumulation_steps=4,  # fits the card
        learning_rate=2e-5,
        bf16=True,
        logging_steps=1,
    )
    trainer = Trainer(
        model=model,
        args=args,
    )
    trainer.train()
"""


def scaled_log(factor):
    rows = [
        {"loss": factor * (6.02 - 0.05 * n), "grad_norm": factor * (15 - n / 4), "learning_rate": 2e-7 * (n + 1)}
        for n in range(12)
    ]
    return "".join(f"{row}\n" for row in rows)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_fix(folder, *words):
    return CliRunner().invoke(group, ["fix", *words, str(folder)])


def changed_lines(diff):
    lines = [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return [line[1:].strip() for line in lines if line[0] == "-"], [
        line[1:].strip() for line in lines if line[0] == "+"
    ]


def write(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


@pytest.fixture
def notebook_and_script(tmp_path):
    """The notebook that ran has fp16 on; the script beside it, and every other setting, disagree with it too."""
    there = {"fp16": "True", "length": 512, "rate": "3e-4", "warmup": 0.05}
    beside = {"fp16": "False", "length": 256, "rate": "1e-4", "warmup": 0.1}
    cells = [["# Old Assyrian, v2 — ‘šu’\n"], [line.format(**there) for line in CLASS], ["cfg = Config()\n", *CALL]]
    notebook = {
        "cells": [
            {"cell_type": "markdown" if not n else "code", "metadata": {}, "source": source}
            | ({"outputs": [], "execution_count": n} if n else {})
            for n, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    script = "from dataclasses import dataclass\n\n\n" + "".join(CLASS).format(**beside) + "\n\n" + "".join(CALL)
    return write(
        tmp_path,
        {"v2.ipynb": json.dumps(notebook, indent=1, ensure_ascii=False), "v2.py": script, "train.log": EPOCHS},
    )


def test_report_1_only_the_precision_of_the_notebook(notebook_and_script):
    before = contents(notebook_and_script)
    result = run_fix(notebook_and_script, "--apply")
    assert result.exit_code == 1, result.stderr
    after = contents(notebook_and_script)
    assert after.pop("v2.ipynb.before-holter") == before["v2.ipynb"]
    wanted = before["v2.ipynb"].replace(b"fp16: bool = True", b"fp16: bool = False")
    assert after == {**before, "v2.ipynb": wanted}


def test_reports_3_to_5_one_statement_after_the_trainer(tmp_path):
    folder = write(
        tmp_path,
        {"train.py": CLASSIFIER, "train.log": scaled_log(4), "requirements.txt": "transformers==4.57.1\n"},
    )
    result = run_fix(folder)
    assert result.exit_code == 1
    assert changed_lines(result.stdout) == ([], ["trainer.model_accepts_loss_kwargs = False"])
    run_fix(folder, "--apply")
    text = (folder / "train.py").read_text()
    assert "    )\n    trainer.model_accepts_loss_kwargs = False\n    trainer.train()" in text
    compile(text, "train.py", "exec")


MODEL = '{"architectures": ["MT5ForConditionalGeneration"], "model_type": "mt5", "vocab_size": 250112}\n'
PRECISIONS = {
    "deepspeed.json": (
        '{\n  "fp16": {"enabled": true, "loss_scale": 0},\n  "zero_optimization": {"stage": 2}\n}\n',
        '"fp16": {"enabled": false, "loss_scale": 0}',
    ),
    "run.sh": (
        "#!/bin/bash\n# fp16 is faster\npython3 -m scripts.train_llm \\\n    --model_name google/mt5-small \\\n"
        "    --mixed_precision fp16 \\\n    --warmup_steps 100\n",
        "--mixed_precision no \\",
    ),
    "accelerate.yaml": (
        "distributed_type: MULTI_GPU\nmixed_precision: fp16   # our cluster's default\n",
        'mixed_precision: "no"   # our cluster\'s default',
    ),
    "lightning.yaml": ("trainer:\n  precision: 16-mixed\n  max_epochs: 3\n", "precision: 32-true"),
    "old_lightning.yaml": ("trainer:\n  precision: 16\n  max_epochs: 3\n", "precision: 32"),
    "lightning.py": (
        'import lightning as L\n\ntrainer = L.Trainer(precision="16-mixed", devices=1)\n',
        'precision="32-true"',
    ),
    "trainer.yaml": ("training:\n  fp16: true   # T4\n  output_dir: out\n", "fp16: false   # T4"),
}


WITH_BF16 = {
    "deepspeed.json": '"bf16": {"enabled": true}',
    "run.sh": "--mixed_precision bf16 \\",
    "accelerate.yaml": "mixed_precision: bf16   # our cluster's default",
    "lightning.yaml": "precision: bf16-mixed",
    "old_lightning.yaml": "precision: bf16",
    "lightning.py": 'precision="bf16-mixed"',
    "trainer.yaml": "bf16: true",
}


@pytest.mark.parametrize("name", WITH_BF16)
def test_a_card_with_bf16_gets_bf16(tmp_path, name):
    text, _ = PRECISIONS[name]
    folder = write(tmp_path, {name: text, "config.json": MODEL, "train.log": OVERFLOW_LOG})
    shown = run_fix(folder, "--set", "devices=A100")
    assert WITH_BF16[name] in shown.stdout, shown.stdout + shown.stderr
    assert WITH_BF16[name] not in run_fix(folder).stdout


@pytest.mark.parametrize("name", PRECISIONS)
def test_precision_in_the_words_of_the_file(tmp_path, name):
    text, wanted = PRECISIONS[name]
    folder = write(tmp_path, {name: text, "config.json": MODEL, "train.log": OVERFLOW_LOG})
    before = contents(folder)
    shown = run_fix(folder)
    old, new = changed_lines(shown.stdout)
    assert any(wanted in line for line in new), shown.stdout + shown.stderr
    assert len(old) == len(new) == 1
    assert contents(folder) == before, "nothing is written without --apply"
    run_fix(folder, "--apply")
    after = contents(folder)
    backup = after.pop(f"{name}.before-holter")
    assert backup == before[name]
    assert {k for k in after if after[k] != before[k]} == {name}


def test_a_fix_is_idempotent(tmp_path):
    text = PRECISIONS["trainer.yaml"][0]
    folder = write(tmp_path, {"trainer.yaml": text, "config.json": MODEL, "train.log": OVERFLOW_LOG})
    run = read([folder])
    fix = holter.diagnose(run).causes[0].fix
    for patch in plan(fix, run, [folder]).patches:
        patch.apply()
    again = plan(fix, run, [folder])
    assert [patch.diff for patch in again.patches] == [""]


def test_a_weights_dtype_stays_an_attribute_of_torch(tmp_path):
    script = (
        "import torch\nfrom transformers import AutoModelForSeq2SeqLM, Seq2SeqTrainer, Seq2SeqTrainingArguments\n\n"
        'model = AutoModelForSeq2SeqLM.from_pretrained("google/mt5-small", torch_dtype=torch.float16)\n'
        'args = Seq2SeqTrainingArguments(output_dir="out", fp16=True)\n'
        "trainer = Seq2SeqTrainer(model=model, args=args)\ntrainer.train()\n"
    )
    error = 'Traceback (most recent call last):\n  File "train.py", line 7, in <module>\n    trainer.train()\n'
    log = error + "ValueError: Attempting to unscale FP16 gradients.\n"
    result = run_fix(write(tmp_path, {"train.py": script, "err.log": log}))
    _, new = changed_lines(result.stdout)
    assert new == ['model = AutoModelForSeq2SeqLM.from_pretrained("google/mt5-small", torch_dtype=torch.float32)']
