"""Checks on evaluation and metrics."""
