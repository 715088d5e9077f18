"""The nodes: each a step of the recipe."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from holter.recipes import Recipe, Settings, assemble
from holter.recipes.config import load
from holter.recipes.data.load import load_parts
from holter.recipes.data.prepare import Cleaned, Parts, clean, split
from holter.recipes.prepared import Prepared, tokenize_parts

log = logging.getLogger(__name__)


def settings_of(profile: str, training: dict[str, Any]) -> Settings:
    """The recipe's settings with this project's on top."""
    return load("account-tax", profile, training)


def cache_of(settings: Settings) -> Path:
    """Where Arrow files of this run lie."""
    return Path(settings.training.output_dir) / "cache"


def load_rows(profile: str, training: dict[str, Any]) -> dict[str, Any]:
    """Rows as they are in the files, or generated."""
    settings = settings_of(profile, training)
    return load_parts(settings, cache_of(settings))


def clean_rows(raw: dict[str, Any], profile: str, training: dict[str, Any]) -> Cleaned:
    """Without empty rows."""
    return clean(raw, settings_of(profile, training))


def split_rows(cleaned: Cleaned, profile: str, training: dict[str, Any]) -> Parts:
    """Training and evaluation rows, the same share of every class; a class with one row stays in training."""
    parts = split(cleaned, settings_of(profile, training))
    log.info(
        "%d classes, %d rows to train on, %d to evaluate on",
        len(parts.classes),
        len(parts.train),
        len(parts.evaluation),
    )
    return parts


def tokenize_rows(raw: dict[str, Any], parts: Parts, profile: str, training: dict[str, Any]) -> Prepared:
    """Ids in memory-mapped Arrow files."""
    settings = settings_of(profile, training)
    return tokenize_parts(settings, raw, parts, cache_of(settings))


def train_model(prepared: Prepared, profile: str, training: dict[str, Any], resume: bool) -> Recipe:
    """A trained recipe; checkpoints, metrics and model are in the run folder."""
    settings = settings_of(profile, training)
    recipe = assemble(settings, Path(settings.training.output_dir), prepared)
    for line in recipe.summary():
        log.info(line)
    for line in recipe.train(resume=resume).lines:
        log.info(line)
    return recipe


def evaluate_model(recipe: Recipe) -> dict[str, float]:
    """Accuracy, macro-F1 and top-5 on the evaluation rows."""
    found = recipe.trainer.evaluate()
    return {name.removeprefix("eval_"): float(value) for name, value in found.items() if name != "epoch"}
