"""The networks that are compared: a recurrent layer of any kind under one linear read-out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax import init as initializers
from seqjax import irnn, lstm, rnn, zoneout
from seqjax.cells import CELLS
from seqjax.layers import BatchNormLSTM
from seqjax.recurrence.unroll import unroll
from seqjax.training.modules import merge_model, split_model, statistics_of
from seqjax.types import Array, Cell, Params


class Layer(NamedTuple):
    """A recurrent layer as pure functions.

    Attributes:
      init: `(key) -> (params, statistics)`.
      run: `(params, statistics, xs [B, T, D], key or None) -> (ys [B, T, H], statistics)`; training
        if there is a key.
      output_size: of ys.
    """

    init: Callable[[Array], tuple[Params, Any]]
    run: Callable[[Params, Any, Array, Array | None], tuple[Array, Any]]
    output_size: int


def of_cell(cell: Cell, input_size: int) -> Layer:
    def init(key: Array) -> tuple[Params, Any]:
        return cell.init(key, input_size), ()

    def run(params: Params, statistics: Any, xs: Array, key: Array | None) -> tuple[Array, Any]:
        _, ys = unroll(cell, params, jnp.swapaxes(xs, 0, 1), key=key)
        return jnp.swapaxes(ys, 0, 1), statistics

    return Layer(init, run, cell.output_size)


def of_batch_norm(hidden_size: int, input_size: int, num_steps: int) -> Layer:
    """The recurrent batch normalisation LSTM, whose first state in training is noise.

    Pixels of one value in the whole batch have a variance of zero; Cooijmans et al. (2017) draw the first
    state from N(0, 0.1²) for that.
    """

    def make(rngs: nnx.Rngs) -> BatchNormLSTM:
        return BatchNormLSTM(hidden_size, input_size, max_steps=num_steps, rngs=rngs)

    split = split_model(nnx.eval_shape(lambda: make(nnx.Rngs(0))))

    def init(key: Array) -> tuple[Params, Any]:
        drawn = split_model(make(nnx.Rngs(params=key)))
        return drawn.params, drawn.statistics

    def run(params: Params, statistics: Any, xs: Array, key: Array | None) -> tuple[Array, Any]:
        layer = merge_model(split, params, statistics)
        state = layer.initial_state(len(xs))
        if key is None:
            return layer(xs, state)[1], statistics
        noise = 0.1 * jax.random.normal(key, state.h.shape)
        _, ys = layer(xs, state._replace(h=noise), use_running_average=False)
        return ys, statistics_of(layer)

    return Layer(init, run, hidden_size)


class Network(NamedTuple):
    """A row of the comparison."""

    cell: Callable[[int], Cell] | None  # None: batch normalisation
    learning_rate: float  # times the flag's


NETWORKS = {
    "lstm": Network(lstm, 1),
    "lstm_forget_5": Network(lambda size: lstm(size, bias_init=initializers.forget_bias(5.0)), 1),
    "lstm_zoneout": Network(lambda size: zoneout(lstm(size), {"c": 0.15, "h": 0.15}), 1),
    "lstm_layer_norm": Network(CELLS["lstm_layer_norm"], 1),
    "lstm_batch_norm": Network(None, 1),
    "gru": Network(CELLS["gru"], 1),
    "rnn": Network(rnn, 0.1),
    "irnn": Network(irnn, 0.1),
    "np_rnn": Network(
        lambda size: CELLS["rnn_relu"](size, recurrent_init=initializers.positive_definite()), 0.1
    ),
    "exp_rnn": Network(CELLS["exp_rnn"], 0.3),
    "cayley_rnn": Network(CELLS["cayley_rnn"], 0.3),
    "urnn": Network(CELLS["urnn"], 0.3),
}


def make_layer(name: str, hidden_size: int, input_size: int, num_steps: int) -> Layer:
    factory = NETWORKS[name].cell
    if factory is None:
        return of_batch_norm(hidden_size, input_size, num_steps)
    return of_cell(factory(hidden_size), input_size)
