"""Checks on several processes."""
