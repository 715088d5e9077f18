"""Whatever the bytes, a reader gives a Run or one of our errors: no traceback, no hang, no silence."""

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holter.errors import HolterError
from holter.readers import read
from holter.readers.pick import readers
from holter.readers.walk import files_below
from holter.run import Run

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
FILE_NAMES = (
    "train.log",
    "trainer_state.json",
    "log.jsonl",
    "history.json",
    "log.csv",
    "log.tsv",
    "events.out.tfevents.1",
    "mlflow.db",
    "meta.yaml",
    "run-1.wandb",
    "training_args.bin",
    "model.safetensors",
    "config.yaml",
    "config.json",
    "ds_config.json",
    "pyproject.toml",
    "train.py",
    "train.ipynb",
    "run.sh",
    "requirements.txt",
    "README.md",
    "facts.yaml",
    "runs.yaml",
    "noname",
)

numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda x: x + 0.0),
    st.sampled_from((0.0, 1e-10, 65504.0, 1e30)),
)
any_number = st.one_of(numbers, st.sampled_from((math.nan, math.inf, -math.inf)))


def as_read(data: bytes, name: str) -> Run | HolterError:
    """What reading a file of these bytes gives; anything else than a Run or one of our errors propagates."""
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        try:
            run = read([path])
        except HolterError as error:
            assert error.what and error.why, "an error must say what failed and why"
            return error
    assert run.inputs, "every file looked at is listed"
    for series in (*run.series.values(), *run.other_series):
        assert len(series.values) == len(series.steps) == len(series.epochs) == len(series.lines)
    return run


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


@QUICK
@given(data=st.binary(max_size=400), name=st.sampled_from(FILE_NAMES))
def test_random_bytes(data, name):
    as_read(data, name)


@QUICK
@given(text=st.text(max_size=400), name=st.sampled_from(FILE_NAMES), encoding=st.sampled_from(("utf-8", "utf-16")))
def test_random_text(text, name, encoding):
    as_read(text.encode(encoding, errors="replace"), name)


@QUICK
@given(data=st.binary(max_size=200), name=st.sampled_from(FILE_NAMES))
def test_every_reader_on_bytes_that_are_not_its_own(data, name):
    with TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(data)
        (sample,) = files_below([Path(folder)]).samples
        for reader in readers():
            reader.sniff(sample)
            try:
                assert isinstance(reader.read(sample), Run)
            except HolterError as error:
                assert error.what


# Lines of each dialect, with numbers put in; the words between are those the tools print.
DIALECTS = {
    "transformers 4": "{{'loss': {a}, 'grad_norm': {b}, 'learning_rate': 1e-05, 'epoch': 0.5}}",
    "transformers 5": "{{'loss': '{a}', 'grad_norm': '{b}', 'learning_rate': '1e-05', 'epoch': '0.5'}}",
    "hand-written": "Step 3: loss={a}, grad_norm={b}, lr=1e-08",
    "Megatron": " iteration 5/ 100 | learning rate: 1.0E-09 | lm loss: {a} | grad norm: {b} |",
    "torchtitan": "step:  4  loss: {a}  grad_norm:  {b}  memory:  5.3GiB(6.7%)",
    "DeepSpeed bar": " 10%|#   | 10/100 [00:10<01:30, 1.0it/s]{{'loss': {a}, 'grad_norm': {b}}}",
    "Lightning": "Epoch 3:  40%|####  | 40/100 [00:10<00:15, 3.90it/s, v_num=0, loss={a}, grad_norm={b}]",
    "json": '{{"step": 3, "loss": {a}, "grad_norm": {b}}}',
    "mmengine": "Epoch(train)  [2][ 50/1000]  lr: 1.0e-03  loss: {a}  grad_norm: {b}",
}


@QUICK
@given(a=any_number, b=any_number, dialect=st.sampled_from(sorted(DIALECTS)))
def test_a_number_printed_is_the_number_read(a, b, dialect):
    run = as_read(DIALECTS[dialect].format(a=a, b=b).encode(), "train.log")
    assert isinstance(run, Run)
    assert same(run.series["loss"][0], a)
    assert same(run.series["grad_norm"][0], b)


@QUICK
@given(
    lines=st.lists(st.tuples(st.sampled_from(sorted(DIALECTS)), numbers, numbers), min_size=1, max_size=8),
    noise=st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=6)), max_size=5),
    cut=st.integers(0, 2000),
)
def test_mutated_logs(lines, noise, cut):
    text = "\n".join(DIALECTS[dialect].format(a=a, b=b) for dialect, a, b in lines).encode()
    for at, piece in noise:
        at %= len(text)
        text = text[:at] + piece + text[at + len(piece) :]
    as_read(text[: max(1, len(text) - cut % len(text))], "train.log")


@QUICK
@given(
    values=st.lists(st.one_of(any_number, st.none()), min_size=1, max_size=12),
    damage=st.tuples(st.integers(0, 3000), st.binary(max_size=4)),
    name=st.sampled_from(("trainer_state.json", "log.jsonl", "history.json", "log.csv")),
)
def test_mutated_structured_files(values, damage, name):
    data = structured(values, name)
    at, piece = damage
    at %= len(data)
    as_read(data[:at] + piece + data[at + len(piece) :], name)
    as_read(data[:at], name)


@QUICK
@given(
    values=st.lists(st.one_of(any_number, st.none()), min_size=1, max_size=12),
    name=st.sampled_from(("trainer_state.json", "log.jsonl", "history.json", "log.csv")),
)
def test_structured_files_come_back(values, name):
    run = as_read(structured(values, name), name)
    present = [(step, value) for step, value in enumerate(values, start=1) if value is not None]
    if not present:
        assert isinstance(run, HolterError) or "loss" not in run.series
        return
    loss = run.series["loss"]
    assert [loss.step(i) for i in range(len(loss))] == [step for step, _ in present]
    assert all(same(got, value) for got, (_, value) in zip(loss.values, present, strict=True))
    assert not run.gaps


def structured(values, name):
    rows = [{"step": step, "loss": value} for step, value in enumerate(values, start=1)]
    if name == "log.csv":
        lines = ["step,loss", *(f"{r['step']},{'' if r['loss'] is None else r['loss']}" for r in rows)]
        return "\n".join(lines).encode()
    if name == "log.jsonl":
        return "\n".join(map(json.dumps, rows)).encode()
    return json.dumps({"log_history": rows, "max_steps": 9} if name.startswith("trainer") else rows).encode()


@pytest.mark.real_data
def test_mutated_real_logs(shared):
    files = sorted(path for path in (shared / "runs").iterdir() if path.suffix in (".log", ".json", ".jsonl"))

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        path=st.sampled_from(files),
        start=st.integers(0, 1 << 20),
        size=st.integers(1, 20_000),
        noise=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8)), max_size=4),
        name=st.sampled_from((None, *FILE_NAMES)),
    )
    def check(path, start, size, noise, name):
        data = path.read_bytes()
        start %= len(data)
        data = data[start : start + size]
        for at, piece in noise:
            at %= len(data)
            data = data[:at] + piece + data[at + len(piece) :]
        as_read(data, name or path.name)

    check()
