"""Checks on weights, adapters and precision."""
