"""What the README shows, runs."""

import re
from pathlib import Path

import jax
import numpy as np

from experiments.__main__ import programs
from seqjax import CELLS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    exec(example, names)
    grads = names["grads"]
    assert jax.tree.structure(grads) == jax.tree.structure(names["params"])
    assert all(np.all(np.isfinite(g)) and np.any(g != 0) for g in jax.tree.leaves(grads))


def test_names_every_cell_and_every_experiment():
    for name in CELLS:
        assert f"`{name}`" in README
    for name in programs():
        assert f"python -m experiments.{name}" in README
