"""Checks on labels, masks and templates."""
