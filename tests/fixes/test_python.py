"""Python, notebooks and command lines: one place changes, every other byte stays, and the result still parses."""

import ast
import json

import pytest

from holter.fixes import notebook, python_file, shell
from holter.fixes.patch import Edit

SCRIPT = """\
import torch
from transformers import Trainer, TrainingArguments  # š ṣ ṭ


@dataclass
class Config:
    fp16: bool = True    # schneller
    learning_rate: float = 3e-4


parser.add_argument("--warmup-ratio", type=float, default=0.01, help="share")
params = {"max_grad_norm": 1.0, "seed": 7}
tokenizer.pad_token = tokenizer.eos_token
args = TrainingArguments(
    output_dir="out",
    per_device_train_batch_size=2,  # fits
)
lora = LoraConfig(r=8, target_modules=["q_proj"])
if True:
    trainer = Trainer(
        model=model,
        args=args,
    )
    trainer.train()
"""


def one_line_changed(before, after):
    old, new = before.splitlines(), after.splitlines()
    assert len(old) == len(new)
    return [b for a, b in zip(old, new, strict=True) if a != b]


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (Edit(key="fp16", new=False, line=7), "    fp16: bool = False    # schneller"),
        (Edit(key="learning_rate", spelling="Config.learning_rate", new=1e-4), "    learning_rate: float = 0.0001"),
        (
            Edit(key="warmup_ratio", spelling="--warmup-ratio", new=0.1),
            'parser.add_argument("--warmup-ratio", type=float, default=0.1, help="share")',
        ),
        (Edit(key="max_grad_norm", new=0.5), 'params = {"max_grad_norm": 0.5, "seed": 7}'),
        (Edit(key="per_device_train_batch_size", new=4), "    per_device_train_batch_size=4,  # fits"),
        (
            Edit(key="modules_to_save", new=["score"]),
            "lora = LoraConfig(r=8, target_modules=[\"q_proj\"], modules_to_save=['score'])",
        ),
    ],
)
def test_value_is_replaced_in_place(edit, line):
    after = python_file.patch(SCRIPT, [edit])
    assert one_line_changed(SCRIPT, after) == [line]
    ast.parse(after)
    assert python_file.patch(after, [edit]) == after


def test_missing_keyword_is_added_to_the_arguments():
    after = python_file.patch(SCRIPT, [Edit(key="bf16", new=True)])
    assert "    per_device_train_batch_size=2,\n    bf16=True,  # fits\n)" in after
    ast.parse(after)
    assert python_file.patch(after, [Edit(key="bf16", new=True)]) == after


def test_missing_statement_goes_after_the_trainer():
    edit = Edit(key="model_accepts_loss_kwargs", new=False)
    after = python_file.patch(SCRIPT, [edit])
    assert "    )\n    trainer.model_accepts_loss_kwargs = False\n    trainer.train()\n" in after
    assert after.replace("    trainer.model_accepts_loss_kwargs = False\n", "") == SCRIPT
    assert python_file.patch(after, [edit]) == after


def test_a_statement_that_takes_a_variable_stays():
    text = "trainer = Trainer(a)\nif given:\n    trainer.model_accepts_loss_kwargs = given\n"
    after = python_file.patch(text, [Edit(key="model_accepts_loss_kwargs", new=False)])
    assert after == text.replace("Trainer(a)\n", "Trainer(a)\ntrainer.model_accepts_loss_kwargs = False\n")


def test_pad_id_and_zero_grad_statements():
    after = python_file.patch(SCRIPT, [Edit(key="model.config.pad_token_id", new=None)])
    assert "eos_token\nmodel.config.pad_token_id = tokenizer.pad_token_id\n" in after
    loop = "for batch in data:\n    loss.backward()\n    self.optimizer.step()"
    assert python_file.patch(loop, [Edit(key="zero_grad", new=None)]) == loop + "\n    self.optimizer.zero_grad()"


def test_no_place_is_refused():
    with pytest.raises(ValueError, match="no place"):
        python_file.patch("x = 1\n", [Edit(key="model_accepts_loss_kwargs", new=False)])
    with pytest.raises(ValueError, match="no call of"):
        python_file.patch("x = 1\n", [Edit(key="bf16", new=True)])
    with pytest.raises(ValueError, match="not Python"):
        python_file.patch("x = (\n", [Edit(key="bf16", new=True)])


def make_notebook(*cells, indent=1):
    body = [
        {"cell_type": "code", "execution_count": 3, "metadata": {}, "outputs": [{"x": 1.50}], "source": c}
        for c in cells
    ]
    return json.dumps({"cells": body, "metadata": {"é": 1e5}, "nbformat": 4}, indent=indent, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("indent", [1, None])
def test_notebook_changes_one_string(indent):
    lines = ["%pip install x\n", "class Config:\n", "    fp16: bool = True  # é\n", "    lr: float = 1\n"]
    text = make_notebook(["import os\n"], lines, indent=indent)
    after = notebook.patch(text, [Edit(key="fp16", new=False, cell=2, line=3)])
    assert after == text.replace("fp16: bool = True", "fp16: bool = False")


def test_notebook_statement_adds_one_string():
    text = make_notebook(["trainer = Trainer(a)\n", "trainer.train()"])
    after = notebook.patch(text, [Edit(key="model_accepts_loss_kwargs", new=False)])
    assert json.loads(after)["cells"][0]["source"] == [
        "trainer = Trainer(a)\n",
        "trainer.model_accepts_loss_kwargs = False\n",
        "trainer.train()",
    ]
    assert notebook.patch(after, [Edit(key="model_accepts_loss_kwargs", new=False)]) == after


def test_notebook_source_as_one_string_and_shell_cells():
    text = make_notebook("a = 1\nfp16 = True\n", "!python train.py --fp16 True \\\n  --lr 1e-4\n")
    assert notebook.patch(text, [Edit(key="fp16", new=False, cell=1)]) == text.replace("fp16 = True", "fp16 = False")
    assert notebook.patch(text, [Edit(key="fp16", new=False, cell=2)]) == text.replace("--fp16 True", "--fp16 False")


def test_notebook_that_is_none_is_refused():
    with pytest.raises(ValueError):
        notebook.patch("not json", [Edit(key="a", new=1)])
    with pytest.raises(ValueError, match="no such code cell"):
        notebook.patch(make_notebook(["a = 1"]), [Edit(key="a", new=1, cell=9)])


COMMAND = """\
#!/bin/bash
# python old.py --fp16
accelerate launch train.py \\
    --fp16 \\
    --learning_rate 3e-4 \\
    --data 'my file'
echo done
"""


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (Edit(key="learning_rate", new=1e-4), "--learning_rate 3e-4", "--learning_rate 0.0001"),
        (Edit(key="data", new="b c"), "--data 'my file'", "--data 'b c'"),
        (Edit(key="bf16", new=True), "--data 'my file'\n", "--data 'my file' \\\n    --bf16 True\n"),
    ],
)
def test_shell_flag(edit, old, new):
    assert shell.patch(COMMAND, [edit]) == COMMAND.replace(old, new)


def test_shell_flag_without_value_is_removed():
    after = shell.patch("torchrun train.py --fp16 --lr 1\n", [Edit(key="fp16", new=False)])
    assert after == "torchrun train.py --lr 1\n"
    assert shell.patch("python a.py --fp16=true\n", [Edit(key="fp16", new=False)]) == "python a.py --fp16=False\n"


def test_shell_without_a_command_is_refused():
    with pytest.raises(ValueError, match="no training command"):
        shell.patch("echo hello\n", [Edit(key="fp16", new=False)])
