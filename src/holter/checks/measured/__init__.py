"""Checks of what probes measured on live objects; codes from 101 up in each family. What they find is `measured`."""
