"""The guard of a model whose weights lie in parts on two processes (FSDP version 2, gloo on CPU)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from holter.errors import ConfigError
from holter.guard.shards import refuse_flat

WORKER = Path(__file__).with_name("fsdp_worker.py")
LIMIT = 600  # seconds until a hang counts as one


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(WORKER)]
    done = subprocess.run(
        [*command, str(folder), "weight", "loss"], env=env, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


KINDS = ["", "fused ", "scaled ", "waiting ", "in parts "]
LATE = KINDS[1:2] + KINDS[3:]  # what has arrived at one process may not have at another


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_run_is_silent_and_the_same_to_the_last_bit(found, kind):
    plain, guarded = found[f"{kind}plain"], found[f"{kind}healthy"]
    assert plain["ends"] == guarded["ends"] == ["finished", "finished"]
    assert (guarded["losses"], guarded["norms"]) == (plain["losses"], plain["norms"])
    assert guarded["broken"] == "None"
    assert not guarded["kept"]  # so that the comparison can fail
    assert guarded["events.jsonl"] == ""
    rows = [json.loads(line) for line in guarded["series.jsonl"].splitlines()]
    assert [row["grad_norm"] for row in rows] == pytest.approx(plain["norms"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[1:])
def test_nothing_more_is_read_from_a_device(found, kind):
    assert found[f"{kind}healthy"]["reads"] == found[f"{kind}plain"]["reads"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["weight", "loss"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_on_one_process_stops_both_in_the_same_step(found, kind, fault):
    broken = found[f"{kind}{fault}"]
    assert all(end.startswith("step 2 was stopped before it touched the weights") for end in broken["ends"])
    assert len(broken["losses"]) == (2 if kind in LATE else 1)  # a flag that is read a step later
    assert broken["kept"]
    facts = json.loads(broken["facts.json"])
    assert facts["guard.fault_step"] == 1
    if fault == "weight":
        assert facts["replay.phase"] == "weights"
        assert facts["replay.module"] == "model.layers.1.mlp.down_proj"


def test_version_one_is_refused_with_the_way_out():
    class FullyShardedDataParallel(torch.nn.Module):
        """Of the name that torch gives it."""

    with pytest.raises(ConfigError, match="fsdp_version 2"):
        refuse_flat(torch.nn.Sequential(FullyShardedDataParallel()))
