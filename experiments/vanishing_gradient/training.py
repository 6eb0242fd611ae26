"""Networks of `experiments.vanishing_gradient` that learn to recall, and how far they look back.

The task, delayed recall: one of four symbols is shown once, `lag` steps before the end, lag being
uniform on 1..max_lag; all other steps show one of four distractors. After the last step the symbol
is to be named. Chance is 1/4, or ln 4 = 1.386 nats.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from seqjax import diagnose, gru, init, irnn, lstm, rnn, rnn_relu
from seqjax.recurrence.unroll import unroll
from seqjax.types import Array, Cell, Params

SYMBOLS = 4
FRACTIONS = (0.1, 0.01)

Factory = Callable[[int, int], Cell]  # (hidden_size, max_lag) -> cell


def _torch_rnn(hidden_size: int, max_lag: int) -> Cell:
    draw = init.uniform(hidden_size**-0.5)
    return rnn(hidden_size, kernel_init=draw, recurrent_init=draw, bias_init=draw)


# The members of a family differ in their initial values alone: one compiled program trains them.
FAMILIES: dict[str, dict[str, Factory]] = {
    "tanh": {
        "tanh, uniform": _torch_rnn,
        "tanh, orthogonal": lambda h, lag: rnn(h),
    },
    "relu": {
        "ReLU, orthogonal": lambda h, lag: rnn_relu(h),
        "ReLU, identity": lambda h, lag: irnn(h),
    },
    "lstm": {
        "LSTM, bias 0": lambda h, lag: lstm(h, bias_init=init.forget_bias(0.0)),
        "LSTM, bias 1": lambda h, lag: lstm(h, bias_init=init.forget_bias(1.0)),
        "LSTM, bias 3": lambda h, lag: lstm(h, bias_init=init.forget_bias(3.0)),
        "LSTM, chrono": lambda h, lag: lstm(h, bias_init=init.chrono(max(3, lag))),
    },
    "gru": {"GRU": lambda h, lag: gru(h)},
}


def episodes(key: Array, lags: Array, steps: int) -> tuple[Array, Array]:
    """`(xs [steps, B, 8], symbols [B])`: row b shows its symbol lags[b] steps before the end."""
    symbol_key, noise_key = jax.random.split(key)
    symbols = jax.random.randint(symbol_key, lags.shape, 0, SYMBOLS)
    distractors = SYMBOLS + jax.random.randint(noise_key, (steps, *lags.shape), 0, SYMBOLS)
    shown = jnp.arange(steps)[:, None] == steps - lags
    return jax.nn.one_hot(jnp.where(shown, symbols, distractors), 2 * SYMBOLS), symbols


def losses(params: Params, y: Array, symbols: Array) -> Array:
    """The cross-entropy of each row, `[B]`, from the last output `y` `[B, H]`."""
    return optax.softmax_cross_entropy_with_integer_labels(y @ params["head"], symbols)


def margin(params: Params, y: Array, symbols: Array) -> Array:
    """How far the right symbol's score lies above the mean of all, `[B]`.

    With two symbols its gradient is that of the cross-entropy without the factor p - 1, which
    rounds to zero in a well trained network.
    """
    scores = y @ params["head"]
    return jnp.sum(jax.nn.one_hot(symbols, SYMBOLS) * scores, -1) - jnp.mean(scores, -1)


def initial(cell: Cell, key: Array) -> Params:
    """A cell and its readout."""
    cell_key, head_key = jax.random.split(key)
    head = jax.random.normal(head_key, (cell.output_size, SYMBOLS)) * cell.output_size**-0.5
    return {"cell": cell.init(cell_key, 2 * SYMBOLS), "head": head}


def measure(
    cell: Cell, params: Params, key: Array, max_lag: int, steps: int, rows: int
) -> dict[str, Array]:
    """Measures the gradient by lag, the memory horizons and the accuracy by lag of one network.

    Returns:
      log_norm `[steps]`: log ‖∂L_T/∂s_k‖ by lag for the margin L, less its value at lag 1, the median
      over rows; horizon `[fractions]`, the median over rows; accuracy `[max_lag]`.
    """
    gradient_key, lag_key, recall_key = jax.random.split(key, 3)
    lags = jax.random.randint(lag_key, (rows,), 1, max_lag + 1)
    xs, symbols = episodes(gradient_key, lags, steps)
    gradients = diagnose.state_gradients(
        cell, params["cell"], xs, lambda state, y: margin(params, y, symbols)
    )
    by_lag = gradients.log_norm[::-1]
    horizons = [diagnose.memory_horizon(gradients.log_norm, fraction) for fraction in FRACTIONS]

    lags = jnp.repeat(jnp.arange(1, max_lag + 1), rows)
    xs, symbols = episodes(recall_key, lags, max_lag)
    _, ys = unroll(cell, params["cell"], xs)
    correct = jnp.argmax(ys[-1] @ params["head"], -1) == symbols
    return {
        "log_norm": jnp.median(by_lag - by_lag[0], axis=1),
        "horizon": jnp.stack([jnp.median(h) for h in horizons]),
        "accuracy": correct.reshape(max_lag, rows).mean(1),
    }


def study(family: str, config: Any) -> dict[str, Any]:
    """Trains all members of a family with all seeds, and measures them before and after.

    Args:
      family: a key of FAMILIES.
      config: the config of `experiments.vanishing_gradient`.

    Returns:
      By member, what was measured "initial" and "trained".
    """
    factories = FAMILIES[family]
    cells = [factory(config.hidden_size, config.max_lag) for factory in factories.values()]
    seeds = [jax.random.fold_in(jax.random.key(config.seed), s) for s in range(config.seeds)]
    members = [initial(c, key) for c in cells for key in seeds]
    params = jax.tree.map(lambda *a: jnp.stack(a), *members)
    keys = jnp.stack([jax.random.fold_in(key, 1) for _ in cells for key in seeds])
    cell = cells[0]  # all have the same step

    @jax.jit
    def look(params: Params) -> dict[str, Array]:
        key = jax.random.fold_in(jax.random.key(config.seed), 2)
        args = (key, config.max_lag, config.measured_steps, config.rows)
        return lax.map(lambda member: measure(cell, member, *args), params)

    before = look(params)
    after = look(train(cell, config, params, keys))
    return {
        name: {
            "initial": _summary(before, m, config.seeds),
            "trained": _summary(after, m, config.seeds),
        }
        for m, name in enumerate(factories)
    }


def train(cell: Cell, config: Any, params: Params, keys: Array) -> Params:
    """Trains many networks side by side: parameters `[N, ...]` and random keys `[N]`."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(config.learning_rate)
    )  # without clipping, ReLU networks explode

    def loss_fn(params: Params, key: Array) -> Array:
        lag_key, key = jax.random.split(key)
        lags = jax.random.randint(lag_key, (config.batch_size,), 1, config.max_lag + 1)
        xs, symbols = episodes(key, lags, config.max_lag)
        return jnp.mean(losses(params, unroll(cell, params["cell"], xs)[1][-1], symbols))

    def update(carry: tuple, step: Array) -> tuple[tuple, None]:
        params, opt_state, key = carry
        grads = jax.grad(loss_fn)(params, jax.random.fold_in(key, step))
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state, key), None

    @jax.jit
    @jax.vmap
    def start(params: Params, key: Array) -> tuple:
        return params, optimizer.init(params), key

    @jax.jit
    def advance(carry: tuple, steps: Array) -> tuple:
        return jax.vmap(lambda member: lax.scan(update, member, steps)[0])(carry)

    carry, chunk = start(params, keys), max(1, config.updates // 10)
    for first in range(0, config.updates, chunk):
        steps = jnp.arange(first, min(first + chunk, config.updates))
        carry = jax.block_until_ready(advance(carry, steps))
    return carry[0]


def _summary(measured: dict[str, Array], member: int, seeds: int) -> dict[str, Any]:
    """One member's measurements over its seeds, as JSON values.

    `near` and `far` are each seed's share of right answers in the first tenth of the lags and in
    their second half.
    """
    mine = {k: np.asarray(v)[member * seeds : (member + 1) * seeds] for k, v in measured.items()}
    lags = mine["accuracy"].shape[1]
    return {
        "log_norm": np.median(mine["log_norm"], axis=0).tolist(),
        "horizon": {str(f): mine["horizon"][:, i].tolist() for i, f in enumerate(FRACTIONS)},
        "accuracy": mine["accuracy"].mean(0).tolist(),
        "near": mine["accuracy"][:, : max(1, lags // 10)].mean(1).tolist(),
        "far": mine["accuracy"][:, lags // 2 :].mean(1).tolist(),
    }
