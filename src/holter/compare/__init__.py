"""Compares two set-ups: normalised differences in phases, and their series laid over each other."""

from __future__ import annotations

from holter.compare.difference import Comparison, Difference, Overlay, compare
from holter.compare.normalise import Normal, normalise

__all__ = ["Comparison", "Difference", "Normal", "Overlay", "compare", "normalise"]
