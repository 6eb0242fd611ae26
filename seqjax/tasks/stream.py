"""Endless text made of examples that follow each other without a gap, to be read character by character.

An example is a pure function `key -> Text`. `pack` draws examples until a text is long enough;
`stream` makes a batch of such texts, and asks at every step for the character after it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.tasks.episode import Episode, check_sizes
from seqjax.types import Array


class Text(NamedTuple):
    """An example of at most L characters; past its length every leaf is zero."""

    symbols: Array  # [L] int32, places in the task's alphabet
    scored: Array  # [L] float32, 1 where a character is to be predicted, 0 where it is only read
    length: Array  # [] int32, at least 1


Example = Callable[[Array], Text]


def pack(example: Example, key: Array, length: int) -> tuple[Array, Array]:
    """`(symbols [length], scored [length])` of examples drawn one after the other; the last is cut."""
    longest = jax.eval_shape(example, key).symbols.shape[0]

    def lacks(carry: tuple) -> Array:
        return carry[1] < length

    def append(carry: tuple) -> tuple:
        number, offset, symbols, scored = carry
        text = example(jax.random.fold_in(key, number))
        # The padding that is written with it lies where the next example goes.
        symbols = lax.dynamic_update_slice(symbols, text.symbols, (offset,))
        scored = lax.dynamic_update_slice(scored, text.scored, (offset,))
        return number + 1, offset + text.length, symbols, scored

    zero = jnp.zeros((), jnp.int32)
    empty = jnp.zeros(length + longest, jnp.int32)
    start = (zero, zero, empty, empty.astype(jnp.float32))
    _, _, symbols, scored = lax.while_loop(lacks, append, start)
    return symbols[:length], scored[:length]


def stream(
    name: str, example: Example, key: Array, batch_size: int, length: int, alphabet: str
) -> Episode:
    """`batch_size` texts side by side: one-hot inputs `[T, B, V]`, targets the next characters.

    Weights are 1 where the next character is one to be predicted.
    """
    check_sizes(name, batch_size, length, 1)
    keys = jax.random.split(key, batch_size)
    symbols, scored = jax.vmap(lambda k: pack(example, k, length + 1), out_axes=1)(keys)
    return Episode(jax.nn.one_hot(symbols[:-1], len(alphabet)), symbols[1:], scored[1:])
