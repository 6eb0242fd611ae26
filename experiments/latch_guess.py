"""Random weight guessing, the baseline of `experiments.latch` (Hochreiter and Schmidhuber, 1997).

Parameters are drawn until the criterion is met; nothing is learned, and no guess knows of another.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from experiments.latch_task import FREE_STEPS, FRESH, UNITS, is_right, last_output
from seqjax.cells import rnn
from seqjax.types import Array, Params
from seqjax.unroll import unroll

BLOCK = 128  # guesses that are tried at once
NET = 5  # units of the 2-sequence problem
NET_INPUTS = 3  # informative steps of the 2-sequence problem


def guess(
    draw: Callable[[Array], Params],
    solves: Callable[[Params], Array],
    key: Array,
    max_guesses: int,
) -> tuple[Array, Params]:
    """Draws until `solves`; returns how many guesses it took, 0 if none of them, and the last.

    `max_guesses` is rounded up to whole blocks.
    """

    def unsolved(carry: tuple) -> Array:
        block, found, _ = carry
        return (found == 0) & (block * BLOCK < max_guesses)

    def try_block(carry: tuple) -> tuple:
        block, _, _ = carry
        keys = jax.random.split(jax.random.fold_in(key, block), BLOCK)
        guesses = jax.vmap(draw)(keys)
        solved = jax.vmap(solves)(guesses)
        first = jnp.argmax(solved)
        found = jnp.where(solved.any(), block * BLOCK + first + 1, 0)
        return block + 1, found, jax.tree.map(lambda leaf: leaf[first], guesses)

    start = (jnp.int32(0), jnp.int32(0), draw(key))
    _, found, params = lax.while_loop(unsolved, try_block, start)
    return found, params


def latch(
    key: Array, length: Any, std: Any, *, per_class: int, limit: float, max_length: int, cap: int
) -> dict[str, Array]:
    """The paper's unit, w and its free inputs guessed from U(-limit, limit)."""
    unit = UNITS["paper"]
    train_key, guess_key, test_key = jax.random.split(key, 3)
    noise = std * jax.random.normal(train_key, (max_length, 2, per_class))
    fresh = std * jax.random.normal(test_key, (max_length, 2, FRESH))

    def draw(key: Array) -> Params:
        values = jax.random.uniform(key, (1 + 2 * FREE_STEPS,), minval=-limit, maxval=limit)
        return {"unit": values[0], "h": values[1:].reshape(2, FREE_STEPS)}

    def solves(params: Params) -> Array:
        return is_right(last_output(unit, params, noise, length)).all()

    guesses, params = guess(draw, solves, guess_key, cap)
    wrong = 1 - is_right(last_output(unit, params, fresh, length)).mean()
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

    def sequences(key: Array, n: int) -> tuple[Array, Array]:
        noise_key, length_key = jax.random.split(key)
        noise = std * jax.random.normal(noise_key, (longest, 2, n))
        ends = jax.random.randint(length_key, (2, n), length, longest + 1)
        return noise.at[:NET_INPUTS].set(jnp.array([[1.0], [-1.0]])), ends

    def right(u: Array, xs: Array, ends: Array) -> Array:
        params = {"w": into_first, "u": u, "b": jnp.zeros(NET)}
        state, _ = unroll(cell, params, xs[..., None], lengths=ends)
        return is_right(state.h[..., -1])

    train_key, guess_key, test_key = jax.random.split(key, 3)
    training = sequences(train_key, per_class)
    guesses, u = guess(
        lambda key: jax.random.uniform(key, (NET, NET), minval=-1.0, maxval=1.0),
        lambda u: right(u, *training).all(),
        guess_key,
        cap,
    )
    wrong = 1 - right(u, *sequences(test_key, 500)).mean()
    return {"guesses": guesses, "test_error": wrong}
