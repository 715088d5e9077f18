"""What a guard waits for under the engines of DeepSpeed, and what it says of their faults: two processes, small models,
on a CPU that is taken for an accelerator."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deepspeed", reason="needs the extra: pip install 'holter[deepspeed]'")

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("engine_worker.py")
LIMIT = 600  # seconds until a hang counts as one
COUNTED = 5  # steps, from the fourth to the eighth
BEFORE_THE_FAULT = [True] * 4

JUDGED = ["ZeRO-0 bf16", "ZeRO-0 fp16", "ZeRO-1 bf16", "ZeRO-1 fp32", "ZeRO-2 fp32", "ZeRO-2 bf16", "ZeRO-2 fp16"]
JUDGED += ["ZeRO-3 fp32", "ZeRO-3 bf16", "ZeRO-3 fp16"]
OTHERS = ["ZeRO-0 fp32", "ZeRO-2 bf16 unchecked"]
TOLD = ["ZeRO-0 fp32 fused", "ZeRO-2 bf16 unchecked fused"]
SCALED = [name for name in JUDGED if "fp16" in name]
STAGES = [0, 2, 3]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    env = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(WORKER)]
    done = subprocess.run([*command, str(folder)], env=env, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


def of_all(run, name):
    """What every process says alike."""
    values = [rank[name] for rank in run["ranks"]]
    assert all(value == values[0] for value in values)
    return values[0]


def fact(run, name):
    return json.loads(run["facts.json"])[name]


def stopped(run, step):
    assert of_all(run, "ended").startswith(f"step {step} was stopped before it touched the weights")
    assert of_all(run, "broken") == "None"
    assert of_all(run, "faults") == 1
    assert of_all(run, "finite")


@pytest.mark.parametrize("name", JUDGED + OTHERS + TOLD)
def test_a_healthy_run_is_silent_and_the_same_to_the_last_bit(name, found):
    run = found["engines"][name]
    assert (of_all(run, "ended"), of_all(run, "faults"), of_all(run, "broken")) == ("finished", 0, "None")
    assert run["same"]
    assert of_all(run, "moved") == [True] * 8 + [False]
    assert run["events.jsonl"] == ""
    rows = [json.loads(line) for line in run["series.jsonl"].splitlines()]
    norms = [row["grad_norm"] for row in rows if "grad_norm" in row]
    assert len(norms) == 8
    assert all(isinstance(norm, float) and norm > 0 for norm in norms)


@pytest.mark.parametrize("name", JUDGED)
def test_nothing_is_waited_for_beyond_what_the_engine_reads_itself(name, found):
    run = found["engines"][name]
    assert run["judged"]
    assert of_all(run, "waits") == run["plain waits"]
    assert run["plain waits"] >= COUNTED  # so the count can see a read


@pytest.mark.parametrize("name", OTHERS)
def test_an_engine_that_does_not_look_is_waited_for_once_a_step(name, found):
    run = found["engines"][name]
    assert not run["judged"]
    assert of_all(run, "waits") == run["plain waits"] + COUNTED


@pytest.mark.parametrize("name", TOLD)
def test_nor_is_anything_read_where_the_optimizer_is_fused_and_told(name, found):
    run = found["engines"][name]
    assert not run["judged"]
    assert of_all(run, "reads") == run["plain reads"]


@pytest.mark.parametrize("fault", ["loss", "gradient"])
@pytest.mark.parametrize("name", TOLD)
def test_it_keeps_the_weights_until_the_fault_is_read(name, fault, found):
    run = found["engines"][f"{name} {fault}"]
    stopped(run, 5)
    assert of_all(run, "moved") == [*BEFORE_THE_FAULT, False, False]


@pytest.mark.parametrize("name", JUDGED + OTHERS)
def test_a_broken_loss_on_one_process_stops_both_although_its_gradient_is_finite(name, found):
    run = found["engines"][f"{name} loss"]
    stopped(run, 5)
    assert of_all(run, "moved") == [*BEFORE_THE_FAULT, False]
    assert fact(run, "guard.fault_ranks") == [1]
    assert of_all(run, "skips") == 0  # it is no search for a scale


@pytest.mark.parametrize("name", [name for name in JUDGED if name not in SCALED] + ["ZeRO-0 fp32"])
def test_an_infinite_gradient_stops_a_run_without_a_loss_scale(name, found):
    run = found["engines"][f"{name} gradient"]
    stopped(run, 5)
    assert of_all(run, "moved") == [*BEFORE_THE_FAULT, False]


def test_one_that_the_engine_lets_through_is_said_a_step_later_as_what_it_is(found):
    run = found["engines"]["ZeRO-2 bf16 unchecked gradient"]
    assert of_all(run, "ended").startswith("step 5 has broken the weights")
    assert (of_all(run, "faults"), of_all(run, "finite")) == (1, False)
    assert len(of_all(run, "moved")) == 6  # the sixth step was not made


@pytest.mark.parametrize("name", SCALED)
def test_with_a_dynamic_loss_scale_it_is_skipped_and_the_run_goes_on(name, found):
    run = found["engines"][f"{name} gradient"]
    assert (of_all(run, "ended"), of_all(run, "faults"), of_all(run, "skips")) == ("finished", 0, 1)
    assert of_all(run, "moved") == [*BEFORE_THE_FAULT, False, True, True, True, False]


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_scale_that_is_searched_for_is_left_alone(stage, found):
    run = found["special"][f"search {stage}"]
    assert (of_all(run, "ended"), of_all(run, "faults"), of_all(run, "broken")) == ("finished", 0, "None")
    assert of_all(run, "skips") >= 2
    assert run["same"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_broken_loss_is_named_under_a_dynamic_loss_scale(stage, found):
    run = found["special"][f"search, loss {stage}"]
    assert "was stopped before it touched the weights" in of_all(run, "ended")
    assert '"fault", "message": "rank 1: ' in run["events.jsonl"]
    assert "loss" in run["events.jsonl"].splitlines()[-1]


@pytest.mark.parametrize("stage", STAGES)
def test_a_scale_that_collapses_stops_the_run(stage, found):
    run = found["special"][f"collapse {stage}"]
    stopped(run, 1)
    assert not any(of_all(run, "moved"))
    assert "scaler.collapsed_at" in json.loads(run["facts.json"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_gradient_that_a_fixed_scale_cannot_save_stops_the_run(stage, found):
    stopped(found["special"][f"static {stage}"], 5)


@pytest.mark.parametrize("stage", STAGES)
def test_the_engine_skips_for_a_run_that_is_to_go_on(stage, found):
    run = found["special"][f"skip {stage}"]
    assert (of_all(run, "ended"), of_all(run, "faults"), of_all(run, "finite")) == ("finished", 1, True)
    assert of_all(run, "moved") == [*BEFORE_THE_FAULT, False, True, True, True, False]


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_continues_is_told_nothing(stage, found):
    run = found["special"][f"continue {stage}"]
    assert (of_all(run, "ended"), of_all(run, "faults")) == ("finished", 1)
    assert run["same"]


@pytest.mark.parametrize("stage", STAGES)
def test_with_one_read_before_every_step_the_engine_does_not_step(stage, found):
    run = found["special"][f"every step {stage}"]
    stopped(run, 5)
    assert of_all(run, "moved") == [*BEFORE_THE_FAULT, False]


@pytest.mark.parametrize("case", ["failed, loss", "failed, collapse"])
@pytest.mark.parametrize("stage", STAGES)
def test_both_stop_where_the_guard_of_one_has_failed(stage, case, found):
    run = found["special"][f"{case} {stage}"]
    assert all("was stopped before it touched the weights" in rank["ended"] for rank in run["ranks"])
    assert [rank["broken"] for rank in run["ranks"]] == ["ValueError('planted')", "None"]
    assert of_all(run, "finite")


def test_an_engine_that_moves_the_weights_against_expectation_is_noticed_a_step_later(found):
    run = found["special"]["misjudged"]
    assert of_all(run, "ended").startswith("step 5 has broken the weights")
    assert of_all(run, "faults") == 1
