"""The guard under DeepSpeed: two processes on CPU, ZeRO-2 and ZeRO-3."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deepspeed", reason="needs the extra: pip install 'holter[deepspeed]'")

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("deepspeed_worker.py")
FAULTS = ("weight", "loss", "gradient")
LIMIT = 600  # seconds until a hang counts as one; DeepSpeed compiles an operator at its first use


@pytest.fixture(scope="module", params=[2, 3], ids=["ZeRO-2", "ZeRO-3"])
def found(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    env = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(WORKER)]
    command += [str(folder), str(request.param), *FAULTS]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "terminate called" not in done.stderr
    return {"stage": request.param, **json.loads((folder / "found.json").read_text())}


def test_a_healthy_run_is_silent_and_the_same_to_the_last_bit(found):
    plain, guarded = found["plain"], found["healthy"]
    assert plain["ends"] == guarded["ends"] == ["finished", "finished"]
    assert guarded["losses"] == plain["losses"]
    assert len(plain["losses"]) == 3
    assert guarded["broken"] == "None"
    assert not guarded["wrapped"]
    assert guarded["events.jsonl"] == ""
    assert json.loads(guarded["facts.json"])["accounting.loss_ratio"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("fault", ["weight", "loss"])
def test_a_loss_that_is_not_finite_on_one_process_stops_both_before_the_step(found, fault):
    ends, facts = found[fault]["ends"], json.loads(found[fault]["facts.json"])
    assert all(end.startswith("step 2 was stopped before it touched the weights") for end in ends)
    assert len(found[fault]["losses"]) == 1
    everywhere = fault == "weight" and found["stage"] == 3  # a part of a weight is gathered by all
    assert facts["guard.fault_ranks"] == ([0, 1] if everywhere else [1])
    assert facts["replay.phase"] == ("weights" if fault == "weight" else "loss")
    if fault == "weight":
        assert facts["replay.module"] == "model.layers.1.mlp.down_proj"


def test_a_gradient_that_the_engine_skips_is_said(found):
    ends = found["gradient"]["ends"]
    assert all("stopped" in end for end in ends)
    assert "the scaler skipped a step" in found["gradient"]["events.jsonl"]
    assert json.loads(found["gradient"]["facts.json"])["guard.fault_step"] == 1
