"""Checks of family NUM: numbers that are not finite, or that their precision cannot hold."""
