"""Recurrent layers one above the other, with dropout and skip connections between them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.errors import InputError, check_fraction
from seqjax.layers.bidirectional import Bidirectional
from seqjax.layers.rnn import RNN
from seqjax.types import Array, Cell, State

CONNECTIONS = ("plain", "residual", "dense", "highway")


class Stack(nnx.Module):
    """Each layer reads what the one below it wrote. Batch-major, `[B, T, D]`.

    With x_l the input of layer l and y_l what its cell makes of it, the next layer reads

        plain     y_l
        residual  x_l + y_l                       (He et al., 2016; Wu et al., 2016)
        dense     [x_l, y_l]                      (Huang et al., 2017; Graves, 2013)
        highway   t y_l + (1 - t) x_l, t = σ(W x_l + b)    (Srivastava et al., 2015)

    where `residual` and `highway` leave the lowest layer plain, since its input is of another size,
    unless it stands `above` another layer; the bias b begins at -1, so that at first most of the input is
    carried on.

    Dropout acts on the connections that go up (input to first layer, layer to layer, last layer to
    what reads the stack), never on those that go through time (Zaremba et al., 2014). What is random in
    a cell itself, as the wrappers of `seqjax.wrappers` make it, is drawn in training too.

    Args:
      cells: the layers, bottom first.
      input_size: D.
      bidirectional: run each layer in both directions; its output size is twice the cell's.
      connections: one of CONNECTIONS.
      above: the input is the output of another layer, to which the lowest one is connected as the others are.
      dropout: share of units dropped on every connection that goes up, in [0, 1).
      same_mask: drop the same units at all steps of a row (Gal and Ghahramani, 2016), not others at each.
      rngs: parameters are drawn from `rngs.params`.

    Attributes:
      layers: `RNN` or `Bidirectional`.
      output_size: of the last axis of what the stack returns.

    Raises:
      InputError: if there is no cell, a rate or a name is unknown, or sizes do not fit a connection.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        input_size: int,
        *,
        bidirectional: bool = False,
        connections: str = "plain",
        above: bool = False,
        dropout: float = 0.0,
        same_mask: bool = False,
        rngs: nnx.Rngs,
    ):
        if isinstance(cells, Cell):
            raise InputError(
                f"{type(self).__name__} takes a sequence of cells: write [cell] for one."
            )
        if not cells:
            raise InputError(
                f"{type(self).__name__} needs at least one cell, got an empty sequence."
            )
        check_fraction("dropout", dropout)
        if connections not in CONNECTIONS:
            raise InputError(
                f"connections must be one of {', '.join(CONNECTIONS)}, got {connections!r}."
            )
        layers: list[Any] = []  # RNN or Bidirectional
        gates: list[nnx.Linear] = []
        size = input_size
        for cell in cells:
            layer = (Bidirectional if bidirectional else RNN)(cell, size, rngs=rngs)
            connected = above or bool(layers)
            if connected and connections in ("residual", "highway") and size != layer.output_size:
                raise InputError(
                    f"connections={connections!r} needs layers of one output size, got"
                    f" {size} below {layer.output_size}."
                )
            if connected and connections == "highway":
                bias = nnx.initializers.constant(-1.0)
                gates.append(nnx.Linear(size, size, bias_init=bias, rngs=rngs))
            layers.append(layer)
            size = size + layer.output_size if connections == "dense" else layer.output_size
        self.layers = nnx.List(layers)
        self.input_size = input_size
        self.connections, self.above = connections, above
        self.output_size = size
        self.bidirectional = bidirectional
        self.dropout = nnx.Dropout(dropout, broadcast_dims=(1,) if same_mask else ())
        if gates:
            self.carry_gates = nnx.List(gates)

    @property
    def backward_features(self) -> np.ndarray:
        """Which features of the output read backward, bools `[output_size]`."""
        of_layers = [layer.backward_features for layer in self.layers]
        if self.connections != "dense":
            return of_layers[-1]
        return np.concatenate([np.zeros(self.input_size, bool), *of_layers])

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step: a tuple, one entry per layer."""
        return tuple(layer.initial_state(batch_size) for layer in self.layers)

    def __call__(
        self,
        xs: Array,
        state: State | None = None,
        *,
        lengths: Array | None = None,
        dropout_key: Array | None = None,
    ) -> tuple[State, Array]:
        """`xs [B, T, D] -> (final_state, ys [B, T, output_size])`, lengths `[B]` as in `unroll`.

        Dropout, and the noise of the cells, are applied only if `dropout_key` is given.
        """
        state = (None,) * len(self.layers) if state is None else state
        if self.connections == "dense" and lengths is not None:  # the input is a part of the output
            valid = jnp.arange(xs.shape[1]) < jnp.asarray(lengths)[:, None]
            xs = jnp.where(valid[..., None], xs, 0)
        keys: list[Any] = [None] * (len(self.layers) + 1)
        noise_keys = keys
        if dropout_key is not None:
            keys = list(jax.random.split(dropout_key, len(keys)))
            noise_keys = [jax.random.fold_in(key, 1) for key in keys]
        new_state = []
        for number, (layer, layer_state) in enumerate(zip(self.layers, state, strict=True)):
            xs = self._drop(xs, keys[number])
            layer_state, ys = layer(xs, layer_state, lengths=lengths, key=noise_keys[number])
            new_state.append(layer_state)
            xs = self._connect(number, xs, ys)
        return tuple(new_state), self._drop(xs, keys[-1])

    def step(self, x: Array, state: State) -> tuple[State, Array]:
        """One step, without dropout: `x [..., D] -> (state, y [..., output_size])`.

        Raises:
          InputError: if the stack is bidirectional: the backward layers begin at the end.
        """
        if self.bidirectional:
            raise InputError("a bidirectional stack has no single step: it must see the end first.")
        new_state = []
        for number, (layer, layer_state) in enumerate(zip(self.layers, state, strict=True)):
            layer_state, y = layer.step(x, layer_state)
            new_state.append(layer_state)
            x = self._connect(number, x, y)
        return tuple(new_state), x

    def _connect(self, number: int, x: Array, y: Array) -> Array:
        """What the layer above reads, of layer `number`'s input and output."""
        if self.connections == "dense":
            return jnp.concatenate([x, y], -1)
        gate = number if self.above else number - 1  # the lowest layer may have none
        if self.connections == "plain" or gate < 0:
            return y
        if self.connections == "residual":
            return x + y
        share = jax.nn.sigmoid(self.carry_gates[gate](x))
        return share * y + (1 - share) * x

    def _drop(self, x: Array, key: Array | None) -> Array:
        return x if key is None else self.dropout(x, rngs=key, deterministic=False)
