"""The LSTM with recurrent batch normalisation, as a Flax NNX layer. Batch-major, `[B, T, D]`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax import init as initializers
from seqjax.errors import InputError, check_fraction, check_positive
from seqjax.fast_scan.scan import scan
from seqjax.types import Array, Initializer, Params


class Moments(NamedTuple):
    mean: Array  # [..., G], of one step or of each
    variance: Array  # [..., G]


class Statistics(NamedTuple):
    x: Moments  # of W xₜ, [max_steps, 4H]
    h: Moments  # of U hₜ₋₁, [max_steps, 4H]
    c: Moments  # of cₜ, [max_steps, H]


class BatchNormState(NamedTuple):
    h: Array  # [B, H]
    c: Array  # [B, H]


class BatchNormLSTM(nnx.Module):
    """An LSTM whose sums are normalised over the batch (Cooijmans et al., 2017, eq. 6 to 8).

        [iₜ fₜ gₜ oₜ] = BN(W xₜ; γ_x) + BN(U hₜ₋₁; γ_h) + b
        cₜ = σ(fₜ) ⊙ cₜ₋₁ + σ(iₜ) ⊙ tanh(gₜ)
        hₜ = σ(oₜ) ⊙ tanh(BN(cₜ; γ_c) + b_c)                yₜ = hₜ

    Every time step has means and variances of its own. In training they are those of the batch's rows that are
    alive at that step, and running averages are kept of the first `max_steps`, of those that had two rows alive in
    some update, since one row has no variance; in evaluation those averages stand for them, the last of them
    for every later step. γ starts from 0.1, with which the derivative of tanh
    does not vanish. It is a layer, not a cell: a row's output depends on the other rows and on its place in
    time.

    Args:
      hidden_size: H.
      input_size: D.
      max_steps: steps with averages of their own.
      gain: what all γ start from.
      momentum: the share of a running average that an update keeps, in [0, 1).
      epsilon: added to every variance.
      kernel_init: draws each gate's `[D, H]` of W.
      recurrent_init: draws each gate's `[H, H]` of U; theirs is the identity.
      bias_init: draws b, called with the shape `[4, H]`, rows i, f, g, o.
      rngs: parameters are drawn from `rngs.params`.

    Attributes:
      params: a dict of `nnx.Param`: w, u, b, gain_x, gain_h, gain_c, b_c.
      statistics: `Statistics` of `nnx.BatchStat`, the running averages.
      learnt: `nnx.BatchStat`, how many steps, from the first on, have averages; to be set with averages that
        come from elsewhere.

    Raises:
      InputError: if a size is no positive integer, or momentum lies outside.
    """

    def __init__(
        self,
        hidden_size: int,
        input_size: int,
        *,
        max_steps: int,
        gain: float = 0.1,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        kernel_init: Initializer = initializers.orthogonal(),
        recurrent_init: Initializer = initializers.identity(),
        bias_init: Initializer = initializers.forget_bias(1.0),
        rngs: nnx.Rngs,
    ):
        check_positive("hidden_size", hidden_size)
        check_positive("input_size", input_size)
        check_positive("max_steps", max_steps)
        check_fraction("momentum", momentum)
        size = 4 * hidden_size
        draw_kernel = initializers.per_gate(kernel_init, 4)
        draw_recurrent = initializers.per_gate(recurrent_init, 4)
        params = {
            "w": draw_kernel(rngs.params(), (input_size, size), jnp.float32),
            "u": draw_recurrent(rngs.params(), (hidden_size, size), jnp.float32),
            "b": bias_init(rngs.params(), (4, hidden_size), jnp.float32).reshape(-1),
            "gain_x": jnp.full(size, gain, jnp.float32),
            "gain_h": jnp.full(size, gain, jnp.float32),
            "gain_c": jnp.full(hidden_size, gain, jnp.float32),
            "b_c": jnp.zeros(hidden_size, jnp.float32),
        }
        self.params = nnx.data(jax.tree.map(nnx.Param, params))
        averages = Statistics(
            *(
                Moments(jnp.zeros((max_steps, n)), jnp.ones((max_steps, n)))
                for n in (size, size, hidden_size)
            )
        )
        self.statistics = nnx.data(jax.tree.map(nnx.BatchStat, averages))
        self.learnt = nnx.BatchStat(jnp.zeros((), jnp.int32))
        self.input_size, self.output_size = input_size, hidden_size
        self.max_steps = max_steps
        self.momentum = momentum
        self.epsilon = epsilon

    def initial_state(self, batch_size: int) -> BatchNormState:
        """The state before the first step: zeros."""
        zeros = jnp.zeros((batch_size, self.output_size), jnp.float32)
        return BatchNormState(zeros, zeros)

    def __call__(
        self,
        xs: Array,
        state: BatchNormState | None = None,
        *,
        lengths: Array | None = None,
        use_running_average: bool = True,
    ) -> tuple[BatchNormState, Array]:
        """`xs [B, T, D] -> (final_state, ys [B, T, H])`, lengths `[B]` as in `unroll`.

        Args:
          xs: what it reads.
          state: before the first step; zeros if None.
          lengths: the number of valid steps of each row; the others count in no statistic.
          use_running_average: evaluation; False normalises by the batch and moves the averages.

        Raises:
          InputError: if xs or lengths are of another shape.
        """
        if xs.ndim != 3 or xs.shape[-1] != self.input_size:
            raise InputError(
                f"BatchNormLSTM takes xs [B, T, {self.input_size}], got shape {xs.shape}."
            )
        batch, num_steps, _ = xs.shape
        lengths = jnp.full(batch, num_steps) if lengths is None else jnp.asarray(lengths)
        if lengths.shape != (batch,) or not jnp.issubdtype(lengths.dtype, jnp.integer):
            raise InputError(
                f"lengths must be integers of shape {(batch,)}, got {lengths.dtype} of shape"
                f" {lengths.shape}."
            )
        state = self.initial_state(batch) if state is None else state
        live = jnp.arange(num_steps)[:, None] < lengths
        xs = jnp.where(live.T[..., None], xs, 0).swapaxes(0, 1)
        params = _values(self.params, nnx.Param)
        averages = _values(self.statistics, nnx.BatchStat)
        last = jnp.maximum(self.learnt.get_value(), 1) - 1
        places = jnp.minimum(jnp.arange(num_steps), last)
        known = jax.tree.map(lambda a: a[places], averages)

        def step(params: Params, state: BatchNormState, inputs: tuple) -> tuple:
            x, live, known = inputs
            return _step(params, state, x, live, known if use_running_average else None, epsilon)

        epsilon = self.epsilon
        state, (ys, found) = scan(step, params, state, (xs, live, known))
        if not use_running_average:
            self._move(averages, found, live)
        return state, ys.swapaxes(0, 1)

    def _move(self, averages: Statistics, found: Statistics, live: Array) -> None:
        """Moves the running averages towards the batch's, where a step had two rows alive."""
        counted = min(self.max_steps, len(live))
        several = live[:counted].sum(1) >= 2
        self.learnt.set_value(jnp.maximum(self.learnt.get_value(), several.sum(dtype=jnp.int32)))
        share = jnp.where(several, 1 - self.momentum, 0)[:, None]

        def moved(old: Array, new: Array) -> Array:
            new = jax.lax.stop_gradient(new[:counted])
            return old.at[:counted].add(share * (new - old[:counted]))

        variables = jax.tree.leaves(self.statistics, is_leaf=_is_statistic)
        values = jax.tree.leaves(jax.tree.map(moved, averages, found))
        for variable, value in zip(variables, values, strict=True):
            variable.set_value(value)


def _step(
    params: Params,
    state: BatchNormState,
    x: Array,
    live: Array,
    known: Statistics | None,
    epsilon: float,
) -> tuple[BatchNormState, tuple[Array, Statistics]]:
    """One step of all rows `[B, ...]`; by the moments that are known, or the batch's."""
    from_x, of_x = _normalise(x @ params["w"], live, known and known.x, epsilon)
    from_h, of_h = _normalise(state.h @ params["u"], live, known and known.h, epsilon)
    z = params["gain_x"] * from_x + params["gain_h"] * from_h + params["b"]
    i, f, g, o = jnp.split(z, 4, axis=-1)
    c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
    from_c, of_c = _normalise(c, live, known and known.c, epsilon)
    h = jax.nn.sigmoid(o) * jnp.tanh(params["gain_c"] * from_c + params["b_c"])
    alive = live[:, None]
    new = BatchNormState(jnp.where(alive, h, state.h), jnp.where(alive, c, state.c))
    return new, (jnp.where(alive, h, 0), Statistics(of_x, of_h, of_c))


def _normalise(
    values: Array, live: Array, known: Moments | None, epsilon: float
) -> tuple[Array, Moments]:
    """`values [B, G]` less their mean, by the root of their variance, over live rows."""
    if known is None:
        count = jnp.maximum(live.sum(), 1).astype(values.dtype)
        alive = live[:, None]
        mean = jnp.where(alive, values, 0).sum(0) / count
        variance = jnp.where(alive, (values - mean) ** 2, 0).sum(0) / count
        known = Moments(mean, variance)
    return (values - known.mean) * jax.lax.rsqrt(known.variance + epsilon), known


def _is_statistic(node: object) -> bool:
    return isinstance(node, nnx.BatchStat)


def _values(variables: object, kind: type) -> Params:
    def is_leaf(node: object) -> bool:
        return isinstance(node, kind)

    return jax.tree.map(lambda v: v.get_value(), variables, is_leaf=is_leaf)
