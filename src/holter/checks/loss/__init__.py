"""Checks of family LOS: level, scale and course of the loss."""
