"""Padding, training speed and tokenising speed of the recipes, each against the plain way in the same run.

    python benchmarks/training_speed.py [--rows 3000000] [--data FOLDER] [--steps 12]

Padding and tokens a second: the akkadian recipe's own order against the Trainer's default order (shuffled, padded to
the longest row of a batch) and against padding to ``max_source_length``; the same model and rows, timed in turns, so
that a busy machine slows all three alike. With ``--data`` the lengths are those of a real corpus. Only tokens of text
count, not padding.

Tokenising: generated line items through the recipe's path (read, encode, write Arrow) against ``encode_batch`` of the
bare fast tokenizer on the same texts in memory, again in turns; memory is the peak of the whole process.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PADDING_LIMIT = 0.05
TOKENIZE_LIMIT = 0.9  # of the bare tokenizer's rate
MEMORY_LIMIT = 2048  # MB
TURN_ROWS = 100_000


def padding(data: str | None) -> dict[str, float]:
    """Share of padding at the full profile's batch and lengths, in each order."""
    import numpy as np

    from holter.recipes.config import load
    from holter.recipes.data.order import RowOrder, padding_share

    settings = load("akkadian", "full", {"data": data} if data else {})
    columns = lengths(data, settings.data.max_source_length)
    batch, accumulation = settings.training.per_device_train_batch_size, settings.training.gradient_accumulation_steps
    order = RowOrder(
        len(columns[0]),
        columns=columns,
        weights=None,
        batch_rows=batch,
        processes=1,
        accumulation=accumulation,
        seed=42,
        epoch=lambda: 0,
    )
    from transformers.trainer_pt_utils import get_length_grouped_indices

    whole = float(settings.data.max_source_length)
    return {
        "recipe": padding_share(list(order), columns, batch),
        "library grouped by source length": padding_share(
            get_length_grouped_indices(columns[0].tolist(), batch * accumulation), columns, batch
        ),
        "shuffled": padding_share(np.random.default_rng(0).permutation(len(columns[0])).tolist(), columns, batch),
        "padded to max length": 1.0 - float(np.mean([c.mean() for c in columns])) / whole,
    }


def lengths(data: str | None, limit: int) -> list[Any]:
    """Tokens of each source and target in bytes plus the end mark, cut to the limit."""
    import numpy as np

    from holter.recipes.samples import sample_rows

    if data is None:
        rows: Iterator[tuple[str, str]] = (
            (row["transliteration"], row["translation"]) for row in sample_rows("akkadian", 36_000)
        )
    else:
        lines = (Path(data) / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
        rows = ((line.split("\t")[0], line.split("\t")[1]) for line in lines)
    pairs = [[min(limit, len(text.encode()) + 1) for text in row] for row in rows]
    return list(np.array(pairs, dtype=np.int64).T)


def speed(data: str | None, steps: int) -> dict[str, float]:
    """Text tokens a second of the small akkadian model in each order, forward, backward and update."""
    from holter.recipes import build

    with TemporaryDirectory() as folder:
        overrides = {"max_source_length": 256, "max_target_length": 256, "train_samples": 4000, "use_cpu": True}
        overrides |= {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "disable_tqdm": True}
        trainer = build("akkadian", data=data, overrides=overrides, output_dir=folder).trainer
        streams = {
            "recipe": batches(trainer, trainer.data_collator, grouped=True),
            "shuffled": batches(trainer, trainer.data_collator, grouped=False),
            "padded to max length": batches(trainer, to_the_limit(trainer), grouped=False),
        }
        model = trainer.model.train()
        optimizer = trainer.create_optimizer()
        return in_turns(streams, lambda batch: step(model, optimizer, batch), steps)


def batches(trainer: Any, collate: Callable[[list[Any]], Any], *, grouped: bool) -> Iterator[Any]:
    """An endless stream of batches in one of the orders."""
    import numpy as np

    rows, size = trainer.train_dataset, trainer.args.per_device_train_batch_size
    for turn in range(1_000_000):
        order = list(trainer._get_train_sampler()) if grouped else np.random.default_rng(turn).permutation(len(rows))
        starts = np.random.default_rng(turn).permutation(len(rows) // size) * size
        for start in starts:
            yield collate([rows[int(i)] for i in order[start : start + size]])


def to_the_limit(trainer: Any) -> Callable[[list[Any]], Any]:
    """The collator with every row padded to the limit of 256 tokens."""
    from transformers import DataCollatorForSeq2Seq

    collator = trainer.data_collator
    return DataCollatorForSeq2Seq(collator.tokenizer, model=trainer.model, padding="max_length", max_length=256)


def step(model: Any, optimizer: Any, batch: Any) -> int:
    """One update; returns the text tokens in it."""
    model(**batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return int(batch["attention_mask"].sum() + (batch["labels"] != -100).sum())


def in_turns(streams: dict[str, Iterator[Any]], work: Callable[[Any], int], rounds: int) -> dict[str, float]:
    """Work done a second on each stream, the streams taking turns of five batches."""
    done, spent = dict.fromkeys(streams, 0), dict.fromkeys(streams, 0.0)
    for turn in range(rounds + 1):
        for name, stream in streams.items():
            taken = list(islice(stream, 5))
            start = time.perf_counter()
            count = sum(work(item) for item in taken)
            if turn:  # the first round warms up
                spent[name] += time.perf_counter() - start
                done[name] += count
    return {name: done[name] / spent[name] for name in streams}


def tokenising(rows: int) -> dict[str, float]:
    """Rows a second of the recipe's path and of the bare tokenizer, their ratio, and peak memory in MB."""
    from holter.recipes.config import load
    from holter.recipes.data.arrow import write_text
    from holter.recipes.data.tokenize import tokenize
    from holter.recipes.samples import sample_rows
    from holter.recipes.samples.line_items import labels
    from holter.recipes.tokenizers import tokenizer_for

    classes = labels()[:280]
    settings = load("account-tax", overrides={"num_labels": 280})
    with TemporaryDirectory() as name:
        folder = Path(name)
        stream = sample_rows("account-tax", rows, seed=1, num_labels=280)
        part = write_text(folder / "rows.arrow", stream, ["text", "label"])
        tokenizer = tokenizer_for(settings, part, folder)
        bare = own = 0.0
        for start in range(0, rows, TURN_ROWS):
            turn = part.select(range(start, min(rows, start + TURN_ROWS)))
            texts = [batch["text"] for batch in turn.iter(10_000)]
            clock = time.perf_counter()
            for batch in texts:
                tokenizer.backend_tokenizer.encode_batch(batch)
            bare += time.perf_counter() - clock
            del texts
            clock = time.perf_counter()
            tokenize(settings, turn, tokenizer, classes, folder / str(start))
            own += time.perf_counter() - clock
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"bare": rows / bare, "recipe": rows / own, "ratio": bare / own, "peak_mb": peak}


def main() -> None:
    """Print the figures and fail when one is out of bounds."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--rows", type=int, default=3_000_000)
    reader.add_argument("--steps", type=int, default=12, help="rounds of five batches each")
    reader.add_argument("--data", help="folder with train.tsv (transliteration, translation)")
    asked = reader.parse_args()
    found: dict[str, Any] = {"machine": f"{platform.machine()}, Python {platform.python_version()}"}
    found["tokenising, rows a second"] = tokenising(asked.rows)
    found["padding"] = padding(asked.data)
    found["text tokens a second"] = speed(asked.data, asked.steps)
    print(json.dumps(found, indent=1))
    told = found["tokenising, rows a second"]
    failed = found["padding"]["recipe"] > PADDING_LIMIT or told["ratio"] < TOKENIZE_LIMIT
    sys.exit(int(failed or told["peak_mb"] > MEMORY_LIMIT))


if __name__ == "__main__":
    main()
