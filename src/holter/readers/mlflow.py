"""MLflow: a local ``mlruns`` folder and a SQLite store, through MLflow's own client (extra ``mlflow``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holter.errors import MissingExtra, ReadError
from holter.names import config_name
from holter.patterns import regex
from holter.readers.base import CERTAIN, Match, Sample, literal
from holter.readers.extra import optional
from holter.readers.rows import Rows
from holter.run import Authority, Run, Value

NAME = "MLflow"

_SQLITE = b"SQLite format 3\x00"
_SQLITE_TABLES = (b"experiments", b"latest_metrics", b"alembic_version")
_RUN_META = regex(r"^run_(?:id|uuid):", re.M)
_EXPERIMENT_META = regex(r"^experiment_id:", re.M)
_PARTS = {"metrics", "params", "tags", "inputs", "outputs"}
_PART_OF_RUN = "part of an MLflow run, which is read as a whole"
MAX_RUNS = 200  # runs of one store; a store with more is not one training


def sniff(sample: Sample) -> Match | None:
    """A SQLite file with MLflow's tables, ``meta.yaml`` of a run, or a file beside one."""
    if sample.head.startswith(_SQLITE):
        found = sample.name.startswith("mlflow") or all(table in sample.head for table in _SQLITE_TABLES)
        return Match(score=CERTAIN, why="a SQLite store with MLflow's tables") if found else None
    if sample.name == "meta.yaml":
        if _RUN_META.search(sample.text):
            return Match(score=CERTAIN, why="describes an MLflow run")
        if _EXPERIMENT_META.search(sample.text):
            return Match(score=CERTAIN, why="describes an MLflow experiment")
    return Match(score=CERTAIN, why=_PART_OF_RUN) if _run_folder(sample.path) is not None else None


def _run_folder(path: Path) -> Path | None:
    """The folder of the run that a file of metrics, params or tags belongs to, None for any other file."""
    for at, parent in enumerate(path.parents[:4]):
        if parent.name in _PARTS and at < 3 and (parent.parent / "meta.yaml").is_file():
            return parent.parent
    return None


def read(sample: Sample) -> Run:
    """Metrics as series and parameters as settings; raises `MissingExtra` without MLflow."""
    if sample.name == "meta.yaml":
        if not _RUN_META.search(sample.text):
            return Run()
        store, wanted = sample.path.resolve().parents[2].as_uri(), sample.path.parent.name
    elif sample.head.startswith(_SQLITE):
        store, wanted = f"sqlite:///{sample.path.resolve()}", None
    else:
        return Run()
    tracking = optional("mlflow.tracking", "mlflow", sample.shown, "an MLflow store")
    try:
        client = tracking.MlflowClient(tracking_uri=store)
        found = [client.get_run(wanted)] if wanted else list(_runs(client))
        return _read_runs(sample, client, found)
    except MissingExtra:
        raise
    except Exception as error:  # the client raises whatever its store does
        raise ReadError(
            f"could not read {sample.shown} as an MLflow store",
            where=sample.shown,
            why=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            do="check that the store is whole, or export the metrics as CSV",
        ) from error


def _runs(client: Any) -> Iterator[Any]:
    for experiment in client.search_experiments():
        yield from client.search_runs([experiment.experiment_id], max_results=MAX_RUNS, order_by=["start_time ASC"])


def _read_runs(sample: Sample, client: Any, found: list[Any]) -> Run:
    run = Run()
    for logged in found[:MAX_RUNS]:
        name = logged.info.run_id
        rows = Rows(sample.shown, key=f"run {name}")
        for metric in sorted(logged.data.metrics):
            history = client.get_metric_history(name, metric)
            for place, point in enumerate(sorted(history, key=lambda p: (p.step, p.timestamp)), start=1):
                rows.add({metric: point.value}, place, step=float(point.step))
        part = Run()
        rows.fill(part)
        for series in (*part.series.values(), *part.other_series):
            run.other_series.append(series)
        for key, text in sorted(logged.data.params.items()):
            source = sample.source(key=f"run {name}.{key}")
            value = Value(value=literal(text), source=source, raw=text, authority=Authority.RECORDED)
            run.add_setting(config_name(key) or key, value)
    return run
