"""Random parameters, states and inputs. Zero biases and zero states hide bugs."""

import jax
import numpy as np


def randomise(tree, seed: int, dtype=np.float32):
    """Adds N(0, 0.4) to every leaf: no bias and no initial state stays at zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: (np.asarray(a) + 0.4 * rng.normal(size=np.shape(a))).astype(dtype), tree
    )


def problem(cell, *, steps=5, batch=(3,), input_size=4, seed=0, dtype=np.float32):
    """`(params, state, xs)` for a cell, all random."""
    params = randomise(cell.init(jax.random.key(seed), input_size), seed + 1, dtype)
    state = randomise(cell.initial_state(batch), seed + 2, dtype)
    xs = np.random.default_rng(seed + 3).normal(size=(steps, *batch, input_size)).astype(dtype)
    return params, state, xs
