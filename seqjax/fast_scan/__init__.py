"""The scan that every recurrence runs on: a step is read, taken apart, and run in loops.

Its public functions are `seqjax.scan` and `seqjax.explain`; `tabulate` serves `seqjax.decode`. It
takes any pure step, and so knows nothing of cells.
"""
