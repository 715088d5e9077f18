"""Experiments: replay the same batches with one thing changed, and say what came of it."""
