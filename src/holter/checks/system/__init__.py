"""Checks on libraries, cards and logging."""
