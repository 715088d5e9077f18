"""Special ids of tokenizer, model and generation config; vocabulary against embedding rows; round trip of real rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject

SPECIAL = ("pad", "eos", "bos", "unk")
NEAR = 0.1  # of the typical distance; a resized table puts new rows within a thousandth of it
SAMPLED = 2_000  # rows of the table that the typical distance is taken from
MOST_ROWS = 100  # rows that are decoded and encoded again


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``tokenizer.*``, and the same ids of ``model.*`` and ``generation.*`` beside them."""
    tokenizer = subject.tokenizer
    if tokenizer is None:
        raise Lacks("a tokenizer (give the Trainer its processing_class)")
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
    notebook.fact("model.embeddings_train", bool(weight.requires_grad) or "trainable_tokens" in str(type(embeddings)))
    used = {token for row in _rows(subject) for token in row}
    added = sorted(used & set(getattr(subject.tokenizer, "added_tokens_decoder", {})))
    if used:
        notebook.fact("tokenizer.added_used", len(added))
        notebook.fact("tokenizer.added_untrained", _untrained(weight, added))


def _untrained(weight: Any, added: list[int]) -> list[int]:
    """Added tokens whose row is zero or the mean of the table, which is what a resized table starts them with.

    Compared with the median distance of rows from the mean: a trained row lies about that far away.
    """
    table = weight.detach().float()
    centre = table.mean(0)
    typical = float((table[:: max(1, len(table) // SAMPLED)] - centre).norm(dim=1).median())
    return [
        token
        for token in added
        if token < len(table)
        and min(float(table[token].norm()), float((table[token] - centre).norm())) < NEAR * typical
    ]


def _rows(subject: Subject) -> list[list[int]]:
    dataset = subject.train_dataset
    if dataset is None or not hasattr(dataset, "__len__") or not len(dataset):
        return []
    step = max(1, len(dataset) // MOST_ROWS)
    found = [dataset[i] for i in range(0, len(dataset), step)][:MOST_ROWS]
    ids = [row["input_ids"] for row in found if isinstance(row, Mapping) and "input_ids" in row]
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
