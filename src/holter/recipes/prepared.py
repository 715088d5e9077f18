"""The steps from a file to ids, one function each, for `build` and for pipelines that want them as nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holter.recipes.data import load, prepare, tokenize
from holter.recipes.settings import Settings
from holter.recipes.tokenizers import tokenizer_for

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Data ready to train on.

    Attributes:
        raw: parts as loaded.
        parts: cleaned and split text.
        tokenizer: of the model.
        train: ``input_ids`` and ``labels`` of the training rows, memory-mapped.
        evaluation: the same of the evaluation rows.
    """

    raw: dict[str, Dataset]
    parts: prepare.Parts
    tokenizer: Any
    train: Dataset
    evaluation: Dataset


def prepare_data(settings: Settings, cache: Path) -> Prepared:
    """Load, clean, split and tokenize; ``cache`` keeps the Arrow files."""
    raw = load.load_parts(settings, cache)
    return tokenize_parts(settings, raw, prepare.split(prepare.clean(raw, settings), settings), cache)


def tokenize_parts(settings: Settings, raw: dict[str, Dataset], parts: prepare.Parts, cache: Path) -> Prepared:
    """The tokenizer, trained on the training rows where none is given, and both parts as ids."""
    tokenizer = tokenizer_for(settings, parts.train, cache)
    train = tokenize.tokenize(settings, parts.train, tokenizer, parts.classes, cache)
    evaluation = tokenize.tokenize(settings, parts.evaluation, tokenizer, parts.classes, cache)
    if settings.data.task == "span-corruption":
        from holter.recipes.data.spans import corrupt_rows

        evaluation = corrupt_rows(evaluation, settings, tokenizer)
    return Prepared(raw=raw, parts=parts, tokenizer=tokenizer, train=train, evaluation=evaluation)
