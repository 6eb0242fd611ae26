"""A step over tokens, with what depends on the token alone looked up in a table.

A language model embeds a token and multiplies the vector by the input weights of its first layer:
the same few results again and again, since there are only V tokens. Made once for all of them, they
leave the loop of generation, and with them half of an LSTM's work.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.fast_scan.block import hoist_products
from seqjax.fast_scan.jaxprs import flatten
from seqjax.fast_scan.stepgraph import read_step
from seqjax.types import Array, State

TokenStep = Callable[[State, Array], tuple[State, Array]]  # (state, token []) -> (state, y)


def tabulate(step: TokenStep, state: State, num_tokens: int) -> TokenStep:
    """The same step, its products of the token alone made now, for tokens 0 to `num_tokens` - 1.

    Args:
      step: `(state, token) -> (state, y)`, of one stream: token an int32 scalar, no batch axis.
      state: a state, for its shapes.
      num_tokens: V.

    Returns:
      A step of equal values; `step` itself if nothing in it depends on the token alone.
    """
    token = jax.ShapeDtypeStruct((), jnp.int32)
    closed, shapes = jax.make_jaxpr(step, return_shape=True)(state, token)
    jaxpr, params = flatten(closed)
    num_state = len(jax.tree.leaves(state))
    graph = read_step(jaxpr, len(params), num_state)
    if not graph.hoist.outputs:
        return step
    fix = dict(zip(graph.fix.outputs, graph.fix.function(*params), strict=True))
    table = hoist_products(graph, fix, [jnp.arange(num_tokens, dtype=jnp.int32)])
    num_results = len(jax.tree.leaves(shapes))

    def looked_up(state: State, token: Array) -> tuple[State, Array]:
        at_token = [table[v][token] if v in table else token for v in graph.sequence]
        fixed = [fix[v] for v in graph.fixed]
        results = graph.body.function(*fixed, *at_token, *jax.tree.leaves(state))
        return jax.tree.unflatten(jax.tree.structure(shapes), results[:num_results])

    return looked_up
