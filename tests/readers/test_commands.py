"""Shell scripts and command lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.readers import read
from holter.readers.commands import Commands
from holter.run import Authority, Run, Source


def script(tmp_path, text, name="run.sh"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read([tmp_path / name])


LAUNCH = """#!/bin/bash
export CUDA_VISIBLE_DEVICES=0,1,2,3
export WANDB_API_KEY=abcdefghij1234567890
LR=2e-5
NUM_GPUS=4
# --learning_rate 9 is commented out
accelerate launch --num_processes $NUM_GPUS --mixed_precision fp16 \\
   train.py --learning_rate ${LR} --warmup_ratio=${WARM:-0.1} \\
   --target_modules q_proj v_proj --gradient_checkpointing --layers_to_transform -6 -5 \\
   --output_dir "my out" --hub_token abcdefgh
"""


def test_launcher_options_variables_and_lines(tmp_path):
    run = script(tmp_path, LAUNCH)
    expected = {
        "cuda_visible_devices": "0,1,2,3",
        "world_size": 4,
        "launcher": "accelerate",
        "mixed_precision": "fp16",
        "fp16": True,
        "learning_rate": 2e-5,
        "warmup_ratio": 0.1,
        "target_modules": ["q_proj", "v_proj"],
        "gradient_checkpointing": True,
        "layers_to_transform": [-6, -5],
        "output_dir": "my out",
    }
    assert {name: run.get(name) for name in expected} == expected
    assert {value.source.line for value in run.config["learning_rate"]} == {4, 8}
    assert run.setting("learning_rate").authority is Authority.COMMAND


def test_secrets_never_enter_the_record(tmp_path):
    shown = repr(script(tmp_path, LAUNCH))
    assert "abcdefgh" not in shown and "***" in shown


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("torchrun --nproc_per_node=8 --nnodes 2 run.py", "world_size", 16),
        ("torchrun --nproc_per_node 8 run.py --seed 1", "world_size", 8),
        ("deepspeed --num_gpus 2 run.py", "world_size", 2),
        ("deepspeed --include localhost:0,1,3 run.py", "world_size", 3),
        ("python train.py --fp16 True", "fp16", True),
        ("python train.py --no_gradient_checkpointing", "gradient_checkpointing", False),
        ("python -m verl.main actor.optim.lr=1e-6 +trainer.max_steps=5", "max_steps", 5),
        ("python train.py --per-device-train-batch-size 4", "per_device_train_batch_size", 4),
        ("srun --ntasks 2 torchrun --nproc_per_node 4 run.py", "launcher", "torchrun"),
        ("tune run --nproc_per_node 2 lora_finetune optimizer.lr=2e-5", "world_size", 2),
        ("BATCH_SIZE=8 python train.py", "per_device_train_batch_size", 8),
        ("cd x && python train.py --lr 3e-4 ; ls", "learning_rate", 3e-4),
        ("pip install -q transformers==4.57.1 'torch>=2'", "versions.transformers", "4.57.1"),
        ("llamafactory-cli train --stage sft --cutoff_len 512", "max_length", 512),
        ("python train.py --ids -100 --seed -1", "seed", -1),
    ],
)
def test_one_line(tmp_path, line, name, value):
    assert script(tmp_path, line + "\n").get(name) == value


@pytest.mark.parametrize("line", ["git clone --depth 1 https://x/y", "ls -la", "echo lr=3", "nproc_per_node --help"])
def test_other_commands_give_no_settings(tmp_path, line):
    run = Run()
    Commands(run=run, source=Source(file="x.sh")).read(line)
    assert not run.config


def test_substitutions_stay_as_written(tmp_path):
    run = script(tmp_path, "python train.py --output_dir $(date) --seed $UNKNOWN\n")
    assert run.setting("seed") is None and run.fact("seed").value == "$UNKNOWN"


def test_dockerfile(tmp_path):
    run = script(tmp_path, "FROM x\nRUN pip install torch==2.4.0\nCMD torchrun --nproc_per_node 2 a.py\n", "Dockerfile")
    assert (run.get("versions.torch"), run.get("world_size")) == ("2.4.0", 2)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab-=$ {}'\"\\\n;&|.py#1[", max_size=150))
def test_any_text_is_taken(text):
    run = Run()
    Commands(run=run, source=Source(file="x.sh")).read("python a.py --seed 1\n" + text)
    assert run.config or run.facts
