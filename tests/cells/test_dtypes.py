"""Cells start in float32, whatever JAX's default is: a caller who wants more casts."""

import jax
import jax.numpy as jnp
import pytest

from seqjax import CELLS, init, time_skip
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
