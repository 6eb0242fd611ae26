"""Cells start in float32, whatever JAX's default is: a caller who wants more casts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import CELLS, init, time_skip, unroll
from seqjax.cells.graph import graph_cell
from seqjax.cells.graphs import GRAPHS

BUILT = {
    **{name: make(3) for name, make in CELLS.items()},
    **{f"graph {name}": graph_cell(graph, 3) for name, graph in GRAPHS.items()},
    "time_skip": time_skip(CELLS["gru"](3), 2),
    "chrono": CELLS["lstm"](3, bias_init=init.chrono(9)),
    "chrono_gru": CELLS["gru"](3, bias_init=init.chrono_gru(9)),
    "forget_bias": CELLS["lstm"](3, bias_init=init.forget_bias(1.0)),
    "identity": CELLS["rnn"](3, recurrent_init=init.identity(0.9)),
    "sparse": CELLS["rnn"](3, recurrent_init=init.sparse(2)),
}


@pytest.mark.parametrize("name", BUILT)
def test_parameters_and_states_are_float32_under_x64_too(name):
    cell = BUILT[name]
    with jax.enable_x64(True):
        params, state = cell.init(jax.random.key(0), 3), cell.initial_state((2,))
        for leaf in jax.tree.leaves((params, state)):
            assert leaf.dtype == jnp.float32
            assert not leaf.weak_type


@pytest.mark.parametrize(
    ("dtype", "scale"), [(jnp.float32, 30), (jnp.float32, 100), (jnp.float16, 10)]
)
@pytest.mark.parametrize("name", ["slstm", "rg_lru", "min_lstm", "mlstm"])
def test_large_inputs_lead_to_no_nan(name, dtype, scale):
    """Gates that underflow, together or before anything is kept, give neither NaN values nor NaN gradients."""
    cell = CELLS[name](8)
    params = jax.tree.map(lambda a: a.astype(dtype), cell.init(jax.random.key(0), 8))
    xs = (scale * jax.random.normal(jax.random.key(1), (3, 32, 8))).astype(dtype)

    def loss(params):
        _, ys = unroll(cell, params, xs)
        return jnp.mean(ys.astype(jnp.float32)), ys

    grads, ys = jax.grad(loss, has_aux=True)(params)
    assert not np.any(np.isnan(np.asarray(ys, np.float32)))
    assert not any(np.any(np.isnan(np.asarray(g, np.float32))) for g in jax.tree.leaves(grads))
