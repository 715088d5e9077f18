"""Offline files of Weights & Biases (``run-*.wandb``), through its own library (extra ``wandb``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from holter.names import config_name
from holter.readers.base import CERTAIN, Match, Sample
from holter.readers.console_log import read_lines
from holter.readers.extra import optional
from holter.readers.merge import absorb
from holter.readers.rows import Rows
from holter.run import Authority, Gap, Run, Value

NAME = "W&B offline"
_HEADER = b":W&B"


def sniff(sample: Sample) -> Match | None:
    """The header of a W&B file, or its suffix."""
    if sample.head.startswith(_HEADER):
        return Match(score=CERTAIN, why="has the header of a W&B file")
    return Match(score=CERTAIN, why="named like a W&B file") if sample.suffix == ".wandb" else None


def read(sample: Sample) -> Run:
    """History as series, configuration as settings, console output as a log; `MissingExtra` without wandb."""
    datastore = optional("wandb.sdk.internal.datastore", "wandb", sample.shown, "a W&B offline file")
    messages = optional("wandb.proto.wandb_internal_pb2", "wandb", sample.shown, "a W&B offline file")
    run, rows, printed = Run(), Rows(sample.shown), list[str]()
    number = 0
    try:
        for number, data in enumerate(_records(datastore, sample), start=1):
            record = messages.Record()
            record.ParseFromString(data)
            _record(sample, record, number, rows, run, printed)
    except Exception as error:  # the library asserts and unpacks where a file is damaged
        why = f"the file is cut off or damaged ({type(error).__name__})"
        run.gaps.append(Gap(source=sample.source(line=number + 1), what=f"records after the first {number}", why=why))
    rows.fill(run)
    if printed:
        log = read_lines(enumerate("".join(printed).split("\n"), start=1), sample.shown)
        absorb(run, log)
        run.other_series.extend(log.series.values())
    return run


def _records(datastore: Any, sample: Sample) -> Iterator[bytes]:
    store = datastore.DataStore()
    store.open_for_scan(str(sample.path))
    while (data := store.scan_data()) is not None:
        yield data


def _record(sample: Sample, record: Any, number: int, rows: Rows, run: Run, printed: list[str]) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "history":
        row = {_key(item): json.loads(item.value_json) for item in record.history.item}
        step = float(record.history.step.num) if record.history.HasField("step") else float("nan")
        rows.add(row, number, step=step)
    elif kind in ("config", "run"):
        updates = record.config.update if kind == "config" else record.run.config.update
        for item in updates:
            _setting(sample, _key(item), json.loads(item.value_json), run)
    elif kind == "output":
        printed.append(record.output.line)
    elif kind == "output_raw":
        printed.append(record.output_raw.line)


def _key(item: Any) -> str:
    return str(item.key or "/".join(item.nested_key))


def _setting(sample: Sample, key: str, value: Any, run: Run) -> None:
    if isinstance(value, dict):
        value = value.get("value", value) if set(value) <= {"value", "desc"} else value
    name = config_name(key)
    if name is not None and not isinstance(value, dict):
        source = sample.source(key=key)
        run.add_setting(name, Value(value=value, source=source, raw=str(value), authority=Authority.RECORDED))
