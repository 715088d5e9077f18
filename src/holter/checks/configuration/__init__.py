"""Checks on settings and the order of calls in a training script."""
