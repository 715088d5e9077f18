"""Recipes: fine-tuning that is stable by default. ``build`` makes one ready to train."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from holter.recipes.config import PROFILES, RECIPES

_LAZY = {
    "Outcome": "holter.recipes.assembly",
    "Recipe": "holter.recipes.assembly",
    "Settings": "holter.recipes.settings",
    "assemble": "holter.recipes.assembly",
    "build": "holter.recipes.assembly",
    "build_trainer": "holter.recipes.assembly",
}

__all__ = ["PROFILES", "RECIPES", "Outcome", "Recipe", "Settings", "assemble", "build", "build_trainer"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'holter.recipes' has no attribute {name!r}")
