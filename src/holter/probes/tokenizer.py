"""Special ids of tokenizer, model and generation config; vocabulary against embedding rows; round trip of real rows."""

from __future__ import annotations

from typing import Any

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject

SPECIAL = ("pad", "eos", "bos", "unk")
MOST_ROWS = 100  # rows that are decoded and encoded again


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``tokenizer.*``, and the same ids of ``model.*`` and ``generation.*`` beside them."""
    tokenizer = subject.tokenizer
    if tokenizer is None:
        raise Lacks("no tokenizer (give the Trainer its processing_class)")
    config, generation = getattr(subject.core, "config", None), getattr(subject.core, "generation_config", None)
    for name in SPECIAL:
        key = f"{name}_token_id"
        notebook.fact(f"tokenizer.{key}", getattr(tokenizer, key, None))
        if name != "unk":
            notebook.fact(f"model.{key}", getattr(config, key, None))
            if generation is not None:
                notebook.fact(f"generation.{key}", getattr(generation, key, None))
    notebook.fact("tokenizer.class", type(tokenizer).__name__)
    notebook.fact("tokenizer.padding_side", tokenizer.padding_side)
    notebook.fact("tokenizer.length", len(tokenizer))
    _embeddings(subject, notebook)
    rows = _rows(subject)
    if rows:
        _round_trip(tokenizer, rows, notebook)


def _embeddings(subject: Subject, notebook: Notebook) -> None:
    embeddings = subject.core.get_input_embeddings() if hasattr(subject.core, "get_input_embeddings") else None
    weight = getattr(embeddings, "weight", None)
    if weight is None:
        return
    notebook.fact("model.embedding_rows", int(weight.shape[0]))
    notebook.fact("model.embeddings_train", bool(weight.requires_grad))


def _rows(subject: Subject) -> list[list[int]]:
    dataset = subject.train_dataset
    if dataset is None or not hasattr(dataset, "__len__") or not len(dataset):
        return []
    step = max(1, len(dataset) // MOST_ROWS)
    found = [dataset[i] for i in range(0, len(dataset), step)][:MOST_ROWS]
    ids = [row["input_ids"] for row in found if isinstance(row, dict) and "input_ids" in row]
    return [i.tolist() if hasattr(i, "tolist") else list(i) for i in ids]


def _round_trip(tokenizer: Any, rows: list[list[int]], notebook: Notebook) -> None:
    """Share of unknown tokens, of rows that decode and encode to something else, and of doubled special tokens."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    tokens = sum(map(len, rows))
    share = sum(row.count(unknown) for row in rows) / max(tokens, 1) if isinstance(unknown, int) else 0.0
    notebook.fact("tokenizer.unknown_share", share)
    special = set(tokenizer.all_special_ids)
    bare = [[i for i in row if i not in special] for row in rows]
    again = [tokenizer.encode(tokenizer.decode(row), add_special_tokens=False) for row in bare]
    notebook.fact(
        "tokenizer.round_trip_changed_share", sum(a != b for a, b in zip(again, bare, strict=True)) / len(rows)
    )
    edges = {getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos")} - {None}
    doubled = sum(_doubled(row, edges) for row in rows)
    notebook.fact("tokenizer.doubled_special_share", doubled / len(rows))


def _doubled(row: list[int], edges: set[Any]) -> bool:
    """Whether a begin or end mark stands twice in a row at either end."""
    return (len(row) > 1 and row[0] == row[1] and row[0] in edges) or (
        len(row) > 1 and row[-1] == row[-2] and row[-1] in edges
    )
