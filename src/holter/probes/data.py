"""Rows of both splits in one pass each: how many, repeated, shared, empty, how long, which labels, which characters."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject

IGNORE_INDEX = -100  # torch.nn.CrossEntropyLoss
MOST_CLASSES = 10_000  # more distinct labels than this are no classes
MOST_TEXTS = 5_000  # texts whose characters are looked at; enough for a share to one in a thousand
CHUNK = 2_048  # rows read at a time


@dataclass
class _Split:
    """What one pass over a split gathers; prints are 64-bit digests of whole rows."""

    rows: int = 0
    prints: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    labels: Counter[Any] = field(default_factory=Counter)
    missing: int = 0
    empty: int = 0
    unsupervised: int = 0
    texts: list[str] = field(default_factory=list)
    constant: dict[str, Any] = field(default_factory=dict)


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``data.train.*``, ``data.eval.*`` and what the two splits share."""
    splits = {"train": subject.train_dataset, "eval": subject.eval_dataset}
    found = {name: _pass(part) for name, part in splits.items() if part is not None and hasattr(part, "__len__")}
    if not found:
        raise Lacks("no dataset with a length")
    for name, split in found.items():
        _write(name, split, notebook)
    if len(found) == 2:
        _between(found["train"], found["eval"], notebook)
    limit = notebook.run.get("max_length")
    if isinstance(limit, int) and found["train"].lengths:
        at_limit = sum(length >= limit for length in found["train"].lengths)
        notebook.fact("data.train.share_at_limit", at_limit / len(found["train"].lengths))


def _pass(dataset: Any) -> _Split:
    split = _Split()
    for row in _rows(dataset):
        split.rows += 1
        split.prints.append(_print(row))
        _lengths(row, split)
        _constants(row, split)
    return split


def _rows(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """Rows one by one; a table of the datasets library is read in chunks, which is many times faster."""
    if hasattr(dataset, "with_format") and hasattr(dataset, "column_names"):
        plain = dataset.with_format(None)
        for start in range(0, len(plain), CHUNK):
            columns = plain[start : start + CHUNK]
            for values in zip(*columns.values(), strict=True):
                yield dict(zip(columns, values, strict=True))
        return
    for index in range(len(dataset)):
        row = dataset[index]
        yield row if isinstance(row, Mapping) else {"row": row}


def _print(row: Mapping[str, Any]) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(row):
        if name not in ("attention_mask", "token_type_ids", "length"):
            digest.update(name.encode())
            digest.update(repr(_plain(row[name])).encode())
    return int.from_bytes(digest.digest(), "big")


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _lengths(row: Mapping[str, Any], split: _Split) -> None:
    ids, labels = _plain(row.get("input_ids")), _plain(row.get("labels", row.get("label")))
    if isinstance(ids, list):
        split.lengths.append(len(ids))
        split.empty += not ids
    if isinstance(labels, list):
        split.unsupervised += all(label == IGNORE_INDEX for label in labels)
    elif labels is not None and len(split.labels) < MOST_CLASSES:
        split.labels[labels] += 1
    for value in row.values():
        split.missing += value is None
        if isinstance(value, str):
            split.empty += not value.strip()
            if len(split.texts) < MOST_TEXTS:
                split.texts.append(value)


def _constants(row: Mapping[str, Any], split: _Split) -> None:
    if split.rows == 1:
        split.constant = {name: _plain(value) for name, value in row.items()}
        return
    for name in [n for n, v in split.constant.items() if n not in row or _plain(row[n]) != v]:
        del split.constant[name]


def _write(name: str, split: _Split, notebook: Notebook) -> None:
    notebook.fact(f"data.{name}.rows", split.rows)
    notebook.fact(f"data.{name}.duplicate_rows", split.rows - len(set(split.prints)))
    notebook.fact(f"data.{name}.missing_values", split.missing)
    notebook.fact(f"data.{name}.empty_values", split.empty)
    notebook.fact(f"data.{name}.rows_without_labels", split.unsupervised)
    if split.rows > 1 and split.constant:
        notebook.fact(f"data.{name}.constant_columns", sorted(split.constant))
    if split.lengths:
        ordered = sorted(split.lengths)
        quantiles = {"min": 0.0, "median": 0.5, "p95": 0.95, "max": 1.0}
        for word, share in quantiles.items():
            notebook.fact(f"data.{name}.length.{word}", ordered[min(int(share * len(ordered)), len(ordered) - 1)])
    if split.labels and not isinstance(next(iter(split.labels)), float):
        notebook.fact(f"data.{name}.classes", len(split.labels))
        notebook.fact(f"data.{name}.largest_class_share", max(split.labels.values()) / split.rows)
        ids = [label for label in split.labels if isinstance(label, int)]
        if ids:
            notebook.fact(f"data.{name}.label_min", min(ids))
            notebook.fact(f"data.{name}.label_max", max(ids))
    texts = split.texts or _decoded(notebook.subject, name)
    if texts:
        from holter.recipes.data.report import characters

        _, dirt, _ = characters(texts)
        notebook.fact(f"data.{name}.dirt", dirt)


def _decoded(subject: Subject, name: str) -> list[str]:
    """Some rows as text, where only token ids are left."""
    dataset = subject.train_dataset if name == "train" else subject.eval_dataset
    if subject.tokenizer is None or not len(dataset):
        return []
    rows = [dataset[i] for i in range(0, len(dataset), max(1, len(dataset) // 200))]
    ids = [_plain(row["input_ids"]) for row in rows if isinstance(row, Mapping) and "input_ids" in row]
    return list(subject.tokenizer.batch_decode(ids, skip_special_tokens=True)) if ids else []


def _between(train: _Split, held: _Split, notebook: Notebook) -> None:
    known = set(train.prints)
    notebook.fact("data.eval.seen_in_train", sum(one in known for one in held.prints))
    if train.labels and held.labels:
        notebook.fact("data.classes_only_in_train", len(train.labels.keys() - held.labels.keys()))
        notebook.fact("data.classes_only_in_eval", len(held.labels.keys() - train.labels.keys()))
