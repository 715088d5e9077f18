"""Two processes: a fault on one is agreed on by both in the same step, and none hangs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LIMIT = 600  # seconds until a hang counts as one; a run takes about eight


def run(folder, fault, rank, on_fault="stop", starting="rank"):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(HERE / "workers.py"), str(folder), fault, str(rank), on_fault],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return sorted(line for line in done.stdout.splitlines() if line.startswith(starting))


@pytest.mark.parametrize(("fault", "rank"), [("row", 1), pytest.param("loss", 1, marks=pytest.mark.slow)])
def test_a_fault_on_one_rank_stops_both_in_the_same_step(tmp_path, fault, rank):
    lines = run(tmp_path, fault, rank)
    assert [line[:22] for line in lines] == ["rank 0 steps 2 stopped", "rank 1 steps 2 stopped"]
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["guard.fault_ranks"] == [rank]
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [e["message"].startswith(f"rank {rank}: ") for e in events if e["kind"] == "fault"] == [True]
    if fault == "row":
        assert facts["replay.rows"] == [5]


@pytest.mark.slow
def test_hosts_whose_backend_knows_devices_only_exchange_their_flags_in_a_group_of_their_own(tmp_path):
    lines = run(tmp_path, "group", 1)
    assert [line[:22] for line in lines] == ["rank 0 steps 2 stopped", "rank 1 steps 2 stopped"]
    assert json.loads((tmp_path / "facts.json").read_text())["guard.fault_ranks"] == [1]


@pytest.mark.slow
def test_a_guard_that_fails_on_one_rank_hangs_nobody(tmp_path):
    lines = run(tmp_path, "guard", 1)
    assert lines == ["rank 0 steps 4 finished", "rank 1 steps 4 finished"]


@pytest.mark.slow
def test_a_healthy_pair_finishes_in_silence(tmp_path):
    lines = run(tmp_path, "none", 1)
    assert lines == ["rank 0 steps 4 finished", "rank 1 steps 4 finished"]
    assert not (tmp_path / "events.jsonl").exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["row", "loss"])
def test_a_step_that_is_skipped_is_skipped_by_both_as_if_it_had_never_been(tmp_path, fault):
    skipped = run(tmp_path / "skip", fault, 1, "skip", starting="weights")
    without = run(tmp_path / "without", "left out", 1, "skip", starting="weights")
    assert len(skipped) == 2
    assert skipped == without
    facts = json.loads((tmp_path / "skip" / "facts.json").read_text())
    assert facts["guard.fault_ranks"] == [1]
    if fault == "row":
        capsules = sorted(p.name for p in (tmp_path / "skip" / "holter-capsules").iterdir())
        assert capsules == ["step-3-rank-0", "step-3-rank-1"]


@pytest.mark.slow
def test_a_run_that_continues_goes_on_to_its_end_on_both(tmp_path):
    assert run(tmp_path, "loss", 1, "continue") == ["rank 0 steps 4 finished", "rank 1 steps 4 finished"]
    assert json.loads((tmp_path / "facts.json").read_text())["guard.fault_ranks"] == [1]


@pytest.mark.slow
def test_a_small_step_of_a_loop_that_does_not_wait_is_taken_back_on_both(tmp_path):
    """Other processes' faults too, and nothing is read for it."""
    skipped = run(tmp_path / "skip", "far loss", 1, "skip", starting="weights")
    assert skipped == run(tmp_path / "without", "left out", 1, "skip", starting="weights")
    assert run(tmp_path / "healthy", "far none", 1, starting="reads") == ["reads of 0: 0", "reads of 1: 0"]
    assert run(tmp_path / "guard", "far guard", 1) == ["rank 0 steps 4 finished", "rank 1 steps 4 finished"]


@pytest.mark.slow
def test_a_large_one_part_by_part_although_one_process_has_no_memory_for_it_and_waits(tmp_path):
    without = run(tmp_path / "without", "left out", 1, "skip", starting="weights")
    assert run(tmp_path / "skip", "far parts loss", 1, "skip", starting="weights") == without
    assert run(tmp_path / "failed", "far parts loss, other guard", 1, "skip", starting="weights") == without
    assert run(tmp_path / "healthy", "far parts none", 1, starting="reads") == ["reads of 0: 0", "reads of 1: 3"]
