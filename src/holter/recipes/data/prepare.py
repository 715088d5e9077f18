"""Raw parts -> cleaned training and evaluation parts, with classes numbered and a stratified split where needed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holter.errors import ConfigError, ReadError
from holter.recipes.settings import Settings

if TYPE_CHECKING:
    import numpy
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Text ready to be tokenised.

    Attributes:
        train: rows to train on.
        evaluation: rows to evaluate on, only of classes that occur in training.
        classes: names of the classes in the order of their numbers; empty where there are none.
        dropped_empty: rows left out because a column was empty, by part.
        unseen: class -> evaluation rows left out because training never shows it.
    """

    train: Dataset
    evaluation: Dataset
    classes: tuple[str, ...]
    dropped_empty: dict[str, int]
    unseen: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """Parts without empty rows, and how many were dropped from each."""

    parts: dict[str, Dataset]
    dropped_empty: dict[str, int]


def clean(raw: dict[str, Dataset], settings: Settings) -> Cleaned:
    """Leave out rows with an empty column. ``raw`` holds ``train`` and maybe ``validation`` or ``test``."""
    kept = {name: _without_empty(part, settings) for name, part in raw.items()}
    return Cleaned(parts=kept, dropped_empty={name: len(raw[name]) - len(kept[name]) for name in raw})


def split(cleaned: Cleaned, settings: Settings) -> Parts:
    """Hold rows out where the data has no validation part, number the classes, and limit both parts.

    Raises:
        ReadError: nothing is left to train or evaluate on.
        ConfigError: fewer than two classes, or another number of classes than ``num_labels`` says.
    """
    train, evaluation = _two_parts(cleaned.parts, settings)
    train = _plant(_limit(train, settings.data.train_samples), settings)
    classes: tuple[str, ...] = ()
    unseen: dict[str, int] = {}
    if settings.is_classification:
        classes = _classes(train, settings)
        evaluation, unseen = _seen_only(evaluation, classes, settings)
    evaluation = _limit(evaluation, settings.data.eval_samples)
    dropped = cleaned.dropped_empty
    for name, part in (("training", train), ("evaluation", evaluation)):
        if len(part) == 0:
            why = f"dropped as empty: {dropped}, of classes never seen in training: {sum(unseen.values())}"
            raise ReadError(
                f"no {name} row is left", where=settings.data.data or "sample", why=why, do="give more data"
            )
    return Parts(train=train, evaluation=evaluation, classes=classes, dropped_empty=dropped, unseen=unseen)


def stratified_split(labels: numpy.ndarray, share: float, seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Row numbers to train and to evaluate on, the same share of each class.

    Args:
        labels: class numbers, int64 [rows].
        share: of rows to evaluate on; a class of n rows gives round(n * share), and always keeps one to train on.
        seed: of the choice.

    Returns:
        two sorted int64 arrays that together hold every row once.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    order = draw.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    wanted = np.minimum(counts - 1, np.round(counts * share).astype(np.int64))
    held = np.zeros(len(labels), dtype=bool)
    for start, count in zip(starts, wanted, strict=True):
        held[order[start : start + count]] = True
    rows = np.arange(len(labels))
    return rows[~held], rows[held]


def label_numbers(part: Dataset, column: str, classes: tuple[str, ...] = ()) -> tuple[Any, tuple[str, ...]]:
    """Class number of each row, int64 [rows], -1 for one not in ``classes``; and the classes, sorted when not given."""
    import numpy as np

    column_values = part.with_format("arrow")[:][column] if len(part) else None
    texts = [str(v) for v in column_values.to_pylist()] if column_values is not None else []
    names = classes or tuple(sorted(set(texts)))
    number = {name: i for i, name in enumerate(names)}
    return np.fromiter((number.get(t, -1) for t in texts), dtype=np.int64, count=len(texts)), names


def _without_empty(part: Dataset, settings: Settings) -> Dataset:
    import numpy as np
    import pyarrow.compute as pc

    columns = [settings.data.source_column]
    if settings.data.task != "span-corruption":
        columns.append(settings.data.target_column)
    table = part.with_format("arrow")
    good = []
    for batch in table.iter(100_000):
        fine = np.ones(len(batch), dtype=bool)
        for column in columns:
            text = pc.utf8_trim_whitespace(pc.fill_null(pc.cast(batch[column], "string"), ""))
            fine &= np.asarray(pc.greater(pc.utf8_length(text), 0))
        good.append(fine)
    mask = np.concatenate(good)
    return part if mask.all() else part.select(np.flatnonzero(mask))


def _two_parts(parts: dict[str, Dataset], settings: Settings) -> tuple[Dataset, Dataset]:
    import numpy as np

    for name in ("validation", "test"):
        if name in parts:
            return parts["train"], parts[name]
    train = parts["train"]
    if settings.is_classification:
        labels, _ = label_numbers(train, settings.data.target_column)
    else:
        labels = np.zeros(len(train), dtype=np.int64)
    keep, hold = stratified_split(labels, settings.data.validation_size, settings.training.seed)
    return train.select(keep), train.select(hold)


def _limit(part: Dataset, rows: int | None) -> Dataset:
    """The first ``rows`` of a shuffled part; a sorted file must not lose its later classes."""
    if rows is None or len(part) <= rows:
        return part
    return part.shuffle(seed=0).select(range(rows))


def _classes(train: Dataset, settings: Settings) -> tuple[str, ...]:
    _, classes = label_numbers(train, settings.data.target_column)
    if len(classes) < 2:
        why = f"column {settings.data.target_column} holds {len(classes)} class"
        raise ConfigError(
            "there is nothing to tell apart", where="target_column", why=why, do="name the column of classes"
        )
    wanted = settings.model.num_labels
    if settings.data.data and wanted is not None and settings.profile == "full" and wanted != len(classes):
        why = f"the training data has {len(classes)} classes"
        do = "remove num_labels; it is counted"
        raise ConfigError(f"num_labels cannot be {wanted}", where="num_labels", why=why, do=do)
    return classes


def _seen_only(part: Dataset, classes: tuple[str, ...], settings: Settings) -> tuple[Dataset, dict[str, int]]:
    import numpy as np

    column = settings.data.target_column
    numbers, _ = label_numbers(part, column, classes)
    strange = np.flatnonzero(numbers < 0)
    if not len(strange):
        return part, {}
    unseen = Counter(str(part[int(i)][column]) for i in strange)
    return part.select(np.flatnonzero(numbers >= 0)), dict(sorted(unseen.items()))


def _plant(train: Dataset, settings: Settings) -> Dataset:
    """The training part with the faults of `FaultSettings` that live in the data, for demonstrations."""
    if not settings.faults.shuffle_labels:
        return train
    from datasets import Dataset

    rows, column = train.to_dict(), settings.data.target_column
    half = len(train) // 2
    rows[column] = rows[column][half:] + rows[column][:half]
    return Dataset.from_dict(rows)
