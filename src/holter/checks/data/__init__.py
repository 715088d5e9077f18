"""Checks on rows and their splits."""
