"""Checks of family OPT: optimizer, schedule, clipping, and what the learning rate did."""
