"""The recurrent layers of all libraries on JAX, each a few functions around its own, and the work they do.

A library is imported where its layer is made.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.speed.products import GATES, products_cell
from experiments.speed.work import Case, Unsupported, Work, pick, temp_bytes
from seqjax.cells import CELLS
from seqjax.devices.mesh import batch_mesh, over_batch, replicate, split_batch
from seqjax.recurrence.unroll import unroll


class Layer(NamedTuple):
    params: Any
    state: Any
    apply: Callable[[Any, Any, Any], tuple[Any, Any]]  # (params, state, xs) -> (state, ys)


def jax_work(
    make_layer: Callable[[Case, int], Layer],
    case: Case,
    *,
    batch_axis: int = 1,
    place: Callable[[Any, int | None], Any] = lambda tree, batch_axis: tree,
) -> Work:
    """The work of any JAX library: layers one after the other, under `jax.jit`."""
    sizes = [case.input_size, *[case.hidden_size] * (case.layers - 1)]
    layers = [make_layer(case, size) for size in sizes]
    params = place([layer.params for layer in layers], None)
    state = place([layer.state for layer in layers], 0)
    axes = (case.steps, case.batch) if batch_axis else (case.batch, case.steps)
    random = np.random.default_rng(0)
    xs, weights = (
        place(jnp.asarray(random.normal(size=(*axes, size)), jnp.float32), batch_axis)
        for size in (case.input_size, case.hidden_size)
    )

    def run(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        new_state = []
        for layer, layer_params, layer_state in zip(layers, params, state, strict=True):
            layer_state, xs = layer.apply(layer_params, layer_state, xs)
            new_state.append(layer_state)
        return new_state, xs

    functions: dict[str, Callable] = {
        "train": jax.value_and_grad(lambda p, xs, s, w: jnp.sum(run(p, s, xs)[1] * w), (0, 1)),
        "forward": lambda params, xs, state, weights: run(params, state, xs)[1],
        "stream": lambda params, xs, state, weights: run(params, state, xs),
    }
    function = jax.jit(functions[case.kind])

    def call() -> Any:
        nonlocal state
        outputs = jax.block_until_ready(function(params, xs, state, weights))
        if case.kind == "stream":
            state, outputs = outputs
        return outputs

    return Work(call, partial(temp_bytes, function, params, xs, state, weights))


def seqjax_layer(case: Case, size: int, *, plain: bool = False) -> Layer:
    cell = CELLS[case.cell](case.hidden_size)

    def apply(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        if plain:
            return lax.scan(partial(cell.step, params), state, xs)
        return unroll(cell, params, xs, state)

    return Layer(cell.init(jax.random.key(0), size), cell.initial_state((case.batch,)), apply)


def products_layer(case: Case, size: int) -> Layer:
    if case.cell not in GATES:
        raise Unsupported(f"no {case.cell}")
    cell = products_cell(case.cell, case.hidden_size)
    params = cell.init(jax.random.key(0), size)
    return Layer(params, cell.initial_state((case.batch,)), lambda p, s, xs: unroll(cell, p, xs, s))


def two_devices(make_layer: Callable[[Case, int], Layer], case: Case) -> Work:
    """The work of `jax_work` with the batch spread over two devices of the host."""
    if case.batch % 2:
        raise Unsupported(f"a batch of {case.batch} does not divide by 2")

    def make(case: Case, size: int) -> Layer:
        layer = make_layer(case, size)
        return layer._replace(apply=over_batch(layer.apply, batch_mesh(2)))

    return jax_work(make, case, place=on_two_devices)


def on_two_devices(tree: Any, batch_axis: int | None) -> Any:
    """A tree on two devices: copied to both, or split between them along the batch axis."""
    mesh = batch_mesh(2)
    return replicate(tree, mesh) if batch_axis is None else split_batch(tree, mesh, batch_axis)


def linen_layer(case: Case, size: int) -> Layer:
    from flax import linen

    cell = pick(case, linen.OptimizedLSTMCell, linen.GRUCell, linen.SimpleCell)(case.hidden_size)
    rnn = linen.RNN(cell, time_major=True, return_carry=True)
    key, like = jax.random.key(0), jnp.zeros((case.steps, case.batch, size))
    state = cell.initialize_carry(key, like.shape[1:])
    return Layer(rnn.init(key, like), state, lambda p, s, xs: rnn.apply(p, xs, initial_carry=s))


def nnx_layer(case: Case, size: int) -> Layer:
    from flax import nnx

    make = pick(case, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell)
    cell = make(size, case.hidden_size, rngs=nnx.Rngs(0))
    rnn = nnx.RNN(cell, time_major=True, return_carry=True)
    graph, params, *others = nnx.split(rnn, nnx.Param, ...)
    state = cell.initialize_carry((case.batch, size), nnx.Rngs(0))
    return Layer(params, state, lambda p, s, xs: nnx.merge(graph, p, *others)(xs, initial_carry=s))


def haiku_layer(case: Case, size: int) -> Layer:
    import haiku as hk

    make = partial(pick(case, hk.LSTM, hk.GRU, hk.VanillaRNN), case.hidden_size)
    zeros: Any = hk.without_apply_rng(hk.transform(lambda: make().initial_state(case.batch)))
    run: Any = hk.without_apply_rng(hk.transform(lambda xs, s: hk.dynamic_unroll(make(), xs, s)))
    state = zeros.apply({})
    params = run.init(jax.random.key(0), jnp.zeros((case.steps, case.batch, size)), state)
    return Layer(params, state, lambda p, s, xs: run.apply(p, xs, s)[::-1])


def equinox_layer(case: Case, size: int) -> Layer:
    import equinox as eqx

    make = pick(case, eqx.nn.LSTMCell, eqx.nn.GRUCell)
    cell = make(size, case.hidden_size, key=jax.random.key(0))
    params, static = eqx.partition(cell, eqx.is_array)
    zeros = jnp.zeros((case.batch, case.hidden_size))

    def apply(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        def step(state: Any, x: Any) -> tuple[Any, Any]:
            state = jax.vmap(eqx.combine(params, static))(x, state)
            return state, state[0] if case.cell == "lstm" else state

        return lax.scan(step, state, xs)

    return Layer(params, (zeros, zeros) if case.cell == "lstm" else zeros, apply)


def keras_layer(case: Case, size: int) -> Layer:
    from keras import layers

    make = pick(case, layers.LSTM, layers.GRU, layers.SimpleRNN)
    layer = make(case.hidden_size, return_sequences=True, return_state=True)
    layer.build((case.batch, case.steps, size))
    fixed = [v.value for v in layer.non_trainable_variables]
    state = [jnp.zeros((case.batch, case.hidden_size))] * (2 if case.cell == "lstm" else 1)

    def apply(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        (ys, *state), _ = layer.stateless_call(params, fixed, xs, initial_state=state)
        return state, ys

    return Layer([v.value for v in layer.trainable_variables], state, apply)
