"""Checks look at a Run and yield findings. They never open a file, call a model or print."""
