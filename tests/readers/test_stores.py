"""MLflow stores and W&B offline files, by hand and by the libraries themselves where they are installed."""

import json
import math
import struct

import pytest

from holter.readers import read
from holter.run import Authority


@pytest.fixture(params=("folder", "sqlite"))
def mlflow_store(request, tmp_path, monkeypatch):
    """A store with two runs: the longer one is the training."""
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    from mlflow.tracking import MlflowClient

    folder = tmp_path / "store"
    folder.mkdir()
    uri = (folder / "mlruns").as_uri() if request.param == "folder" else f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("tuning", artifact_location=str(tmp_path / "artifacts"))
    for length in (2, 5):
        made = client.create_run(experiment).info.run_id
        client.log_param(made, "learning_rate", "1e-05")
        client.log_param(made, "per_device_train_batch_size", "8")
        for step in range(1, length + 1):
            client.log_metric(made, "loss", 4.0 / step, step=step)
            client.log_metric(made, "grad_norm", math.nan if step == 2 else 1.5, step=step)
        client.set_terminated(made)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_mlflow(mlflow_store):
    run = read([mlflow_store])
    assert list(run.series["loss"].values) == [4.0 / step for step in range(1, 6)]
    assert list(run.series["loss"].steps) == [1, 2, 3, 4, 5]
    assert math.isnan(run.series["grad_norm"][1])
    assert run.series["grad_norm"].source.key == run.series["loss"].source.key
    assert [len(other) for other in run.other_series if other.name == "loss"] == [2]
    assert run.get("learning_rate") == 1e-05
    assert run.setting("per_device_train_batch_size").authority is Authority.RECORDED
    assert not run.gaps, run.gaps


def field(number, content):
    """One field of a protocol buffer: text and bytes with their length, numbers as varints."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number):
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def history(step, **values):
    items = b"".join(field(1, field(2, key) + field(16, json.dumps(value))) for key, value in values.items())
    return field(2, items + field(2, field(1, step)))


def chained(records):
    """The bytes of a W&B file: records cut at the blocks of 32 KiB."""
    data = b":W&B\xe1\xbe\x00"
    for record in records:
        rest, first = record, True
        while first or rest:
            left = 32768 - len(data) % 32768
            if left < 7:
                data += bytes(left)
                continue
            piece, rest = rest[: left - 7], rest[left - 7 :]
            kind = (1 if not rest else 2) if first else (3 if rest else 4)
            data += bytes(4) + struct.pack("<HB", len(piece), kind) + piece
            first = False
    return data


def wandb_file(folder, *, filler=0):
    settings = field(17, field(4, field(1, field(2, "learning_rate") + field(16, "1e-05"))))
    rows = [history(s, **{"train/loss": 2.0 / s, "train/global_step": s * 10, "x": "y" * filler}) for s in (1, 2, 3)]
    path = folder / "run-abc.wandb"
    path.write_bytes(chained([settings, *rows, field(13, field(3, "ValueError: too many labels\n"))]))
    return path


@pytest.mark.parametrize("filler", (0, 20_000, 100_000))
def test_wandb(tmp_path, filler):
    run = read([wandb_file(tmp_path, filler=filler)])
    assert list(run.series["loss"].values) == [2.0, 1.0, 2.0 / 3]
    assert list(run.series["loss"].steps) == [10, 20, 30]
    assert run.get("learning_rate") == 1e-05
    assert [event.text for event in run.events] == ["ValueError: too many labels"]
    assert not run.gaps


@pytest.mark.parametrize("cut", (1, 40, 60, 100))
def test_wandb_cut_off(tmp_path, cut):
    path = wandb_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    run = read([path])
    assert len(run.series["loss"]) >= 1
    assert "cut off" in run.gaps[0].why


def test_a_file_of_the_library_itself(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs the extra wandb")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true", "CONSOLE": "off"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    logged = wandb.init(project="tuning", config={"learning_rate": 1e-5})
    for step in range(1, 4):
        logged.log({"train/loss": 2.0 / step, "train/grad_norm": math.nan, "train/global_step": step * 10})
    logged.finish()
    run = read([next(tmp_path.rglob("*.wandb"))])
    assert list(run.series["loss"].steps) == [10, 20, 30]
    assert all(map(math.isnan, run.series["grad_norm"]))
    assert run.get("learning_rate") == 1e-5
