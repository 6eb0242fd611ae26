"""Scheduled sampling: a network trained partly on what it writes itself (Bengio et al., 2015).

`mix_tokens` decides what the network reads, and training goes on as with teacher forcing on that. No
gradient passes through a chosen token, so this is the gradient of scheduled sampling itself; and where
every token is the true one, it is teacher forcing bit for bit.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.decode.sampling import pick
from seqjax.errors import InputError, check_positive
from seqjax.types import Array, State

SCHEDULES = ("constant", "linear", "exponential", "inverse_sigmoid")


def make_truth_schedule(
    name: str, num_steps: int, *, first: float = 1.0, last: float = 0.0, speed: float = 0.0
) -> Callable[[Array | int], Array]:
    """Builds `schedule(update) -> p`, the probability of the true token, falling over `num_steps`.

    Args:
      name: one of SCHEDULES. With i the update and n = num_steps,
          constant         first
          linear           max(last, first - (first - last) i / n)
          exponential      k^i
          inverse_sigmoid  k / (k + exp(i / k))    (all three: Bengio et al., 2015, section 2.4)
      num_steps: n.
      first: at update 0, for "constant" and "linear".
      last: the least, for "linear".
      speed: k, below 1 for "exponential", at least 1 for "inverse_sigmoid"; 0: so that p is 1 % at n,
        or 50 % at n / 2.

    Raises:
      InputError: if the name is unknown, or a number is out of range.
    """
    check_positive("num_steps", num_steps)
    if not 0 <= last <= first <= 1:
        raise InputError(f"it must be that 0 <= last <= first <= 1, got {last} and {first}.")
    if first != 1 and name in ("exponential", "inverse_sigmoid"):
        raise InputError(f"first is of 'constant' and 'linear': leave it out, got {first}.")
    if name == "constant":
        return lambda i: jnp.full(jnp.shape(i), first)
    if name == "linear":
        return lambda i: jnp.maximum(last, first - (first - last) * jnp.asarray(i) / num_steps)
    if name == "exponential":
        k = speed or 0.01 ** (1 / num_steps)
        if not 0 < k < 1:
            raise InputError(f"speed must lie between 0 and 1 for 'exponential', got {k}.")
        return lambda i: k ** jnp.asarray(i, jnp.float32)
    if name == "inverse_sigmoid":
        k = speed or _half_at(num_steps / 2)
        if not 1 <= k < math.inf:
            raise InputError(f"speed must be at least 1 for 'inverse_sigmoid', got {k}.")
        # 1 / (1 + exp(i / k) / k), without the overflow
        return lambda i: jax.nn.sigmoid(math.log(k) - jnp.asarray(i, jnp.float32) / k)
    raise InputError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}.")


def _half_at(update: float) -> float:
    """k for which k = exp(i / k) at an update: then p is 1/2 there."""
    low, high = 1.0, max(update, math.e)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if middle * math.log(middle) < update else (low, middle)
    return max(1.0, high)


def mix_tokens(
    step: Callable[[State, Array], tuple[State, Array]],
    state: State,
    tokens: Array,
    key: Array,
    *,
    probability: Array | float,
    sample: bool = True,
) -> Array:
    """What a network reads in scheduled sampling: `[B, T]`, the first token always the true one.

    Args:
      step: `(state, token [B]) -> (state, logits [B, V])`, one step of the network.
      state: before the first token.
      tokens: `[B, T]`, what it reads under teacher forcing.
      key: of a coin for each token of each row, and of the draws.
      probability: p, of the true token.
      sample: draw from the network's prediction; or else take the most probable token.
    """

    def advance(carry: tuple[State, Array], inputs: tuple) -> tuple[tuple[State, Array], Array]:
        state, token = carry
        true_next, is_true, key = inputs
        state, logits = step(state, token)
        own = pick(logits, key, temperature=1.0 if sample else 0.0)
        token = jnp.where(is_true, true_next, own.astype(tokens.dtype))
        return (state, token), token

    coin_key, draw_key = jax.random.split(key)
    later = tokens[:, 1:].T
    is_true = jax.random.uniform(coin_key, later.shape) < probability
    inputs = later, is_true, jax.random.split(draw_key, len(later))
    _, read = lax.scan(advance, (state, tokens[:, 0]), inputs)
    return lax.stop_gradient(jnp.concatenate([tokens[:, :1], read.T], 1))
