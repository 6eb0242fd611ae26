"""Readers of data sets by name, each from files to `Sequences`."""
