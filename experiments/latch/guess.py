"""Random weight guessing, the baseline of `experiments.latch` (Hochreiter and Schmidhuber, 1997).

Parameters are drawn until they meet the criterion; nothing is learnt, and guesses are independent.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from experiments.latch.task import FREE_STEPS, FRESH, UNITS, is_right, last_output
from seqjax import rnn
from seqjax.recurrence.unroll import unroll
from seqjax.types import Array, Params

BLOCK = 128  # guesses that are tried side by side
NET = 5  # units of the 2-sequence problem
NET_FRESH = 500  # sequences of each class that measure its error
NET_INPUTS = 3  # informative steps of the 2-sequence problem


def guess(
    draw: Callable[[Array], Params],
    solves: Callable[[Params], Array],
    key: Array,
    max_guesses: int,
) -> tuple[Array, Params]:
    """Draws parameters until they solve the problem, at most `max_guesses` times.

    Args:
      draw: from a random key to parameters.
      solves: whether parameters solve the problem.
      key: the random key.
      max_guesses: rounded up to a multiple of BLOCK.

    Returns:
      The number of guesses it took, 0 if none of them solved the problem; and the last guess.
    """

    def unsolved(carry: tuple) -> Array:
        block, taken, _ = carry
        return (taken == 0) & (block * BLOCK < max_guesses)

    def try_block(carry: tuple) -> tuple:
        block, _, _ = carry
        keys = jax.random.split(jax.random.fold_in(key, block), BLOCK)
        guesses = jax.vmap(draw)(keys)
        solved = jax.vmap(solves)(guesses)
        first = jnp.argmax(solved)
        taken = jnp.where(solved.any(), block * BLOCK + first + 1, 0)
        return block + 1, taken, jax.tree.map(lambda leaf: leaf[first], guesses)

    nothing = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(draw, key)
    )
    start = (jnp.int32(0), jnp.int32(0), nothing)
    _, taken, params = lax.while_loop(unsolved, try_block, start)
    return taken, params


def latch(
    key: Array, length: Any, std: Any, *, per_class: int, limit: float, max_length: int, cap: int
) -> dict[str, Array]:
    """The paper's unit, w and its free inputs guessed from U(-limit, limit)."""
    unit = UNITS["paper"]
    noise_key, guess_key = jax.random.split(key)
    noise = std * jax.random.normal(noise_key, (max_length, 2, per_class + FRESH))

    def draw(key: Array) -> Params:
        values = jax.random.uniform(key, (1 + 2 * FREE_STEPS,), minval=-limit, maxval=limit)
        return {"unit": values[0], "h": values[1:].reshape(2, FREE_STEPS)}

    def solves(params: Params) -> Array:
        return is_right(last_output(unit, params, noise[:, :, :per_class], length)).all()

    guesses, params = guess(draw, solves, guess_key, cap)
    right = is_right(last_output(unit, params, noise, length))
    wrong = 1 - right[:, per_class:].mean()
    return {"guesses": guesses, "test_error": wrong, "w": params["unit"]}


def two_sequence(
    key: Array, length: int, std: Any, *, per_class: int, cap: int
) -> dict[str, Array]:
    """Five tanh units without bias, 25 weights from U(-1, 1), for sequences of `length` to 1.1 of it.

    The input, ±1 for the first three steps and Gaussian noise of standard deviation `std` from then
    on, is added to the first unit; the sign of the last unit at the sequence's end is the class.
    """
    cell = rnn(NET)
    into_first = jnp.zeros((1, NET)).at[0, 0].set(1.0)
    longest = length + length // 10

    noise_key, length_key, guess_key = jax.random.split(key, 3)
    xs = std * jax.random.normal(noise_key, (longest, 2, per_class + NET_FRESH))
    xs = xs.at[:NET_INPUTS].set(jnp.array([[1.0], [-1.0]]))
    ends = jax.random.randint(length_key, xs.shape[1:], length, longest + 1)

    def right(u: Array, n: int) -> Array:
        """Which of the first n sequences of each class are right, `[2, n]`."""
        params = {"w": into_first, "u": u, "b": jnp.zeros(NET)}
        state, _ = unroll(cell, params, xs[:, :, :n, None], lengths=ends[:, :n])
        return is_right(state.h[..., -1])

    guesses, u = guess(
        lambda key: jax.random.uniform(key, (NET, NET), minval=-1.0, maxval=1.0),
        lambda u: right(u, per_class).all(),
        guess_key,
        cap,
    )
    wrong = 1 - right(u, xs.shape[2])[:, per_class:].mean()
    return {"guesses": guesses, "test_error": wrong}
