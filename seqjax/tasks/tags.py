"""Nested tags with random names (Jozefowicz, Zaremba and Sutskever, 2015).

    <qzf><hb></hb><abcdefg></abcdefg></qzf>

At every step, with probability 1/2 or once 50 steps are past, the innermost tag is closed, or the
example ends if none is open; otherwise a new tag is opened. A name has 2 to 10 letters, all counts
and all names of a count being equally likely. To close a tag, its name must be remembered; a name
that is opened cannot be predicted. So no accuracy exceeds .65: of the 2s + 5 characters of a pair of
tags with names of s letters, 6 on average, the best guess is right on s + 5, and 1 time in 26 on a
second letter.

By the rule as it is printed every second example is empty. Those leave no trace in a stream and are
not drawn: the first step opens a tag.
"""

import string

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.tasks.episode import Episode, in_32_bits
from seqjax.tasks.stream import Text, stream
from seqjax.types import Array

ALPHABET = "</>" + string.ascii_lowercase
OPEN, SLASH, CLOSE = range(3)
SHORTEST_NAME, LONGEST_NAME = 2, 10
MAX_STEPS = 50  # after which nothing is opened
PIECE = LONGEST_NAME + 3  # characters of the longest tag


@in_32_bits
def xml(key: Array, batch_size: int, length: int) -> Episode:
    """A stream of tags: inputs one-hot `[T, B, 29]` in the order of `ALPHABET`.

    Targets `[T, B]` are the next characters; all of them count.

    Raises:
      InputError: if a size is not positive.
    """
    return stream("xml", xml_example, key, batch_size, length, ALPHABET)


@in_32_bits
def xml_example(key: Array) -> Text:
    """Tags until the rule says stop; every character is scored."""

    def goes_on(carry: tuple) -> Array:
        return ~carry[-1]

    def act(carry: tuple) -> tuple:
        step, depth, names, text, length, _ = carry
        coin_key, size_key, name_key = jax.random.split(jax.random.fold_in(key, step), 3)
        opens = (step == 0) | ((step < MAX_STEPS) & jax.random.bernoulli(coin_key))
        stops = ~opens & (depth == 0)
        size = jax.random.randint(size_key, (), SHORTEST_NAME, LONGEST_NAME + 1)
        name = jax.random.randint(name_key, (LONGEST_NAME,), CLOSE + 1, len(ALPHABET))
        name = jnp.where(jnp.arange(LONGEST_NAME) < size, name, 0)
        # Names are a stack, innermost last.
        top = jnp.where(opens, name, names[depth - 1])
        names = names.at[jnp.where(opens, depth, MAX_STEPS)].set(name, mode="drop")
        piece, count = _tag(top, ~opens)
        text = jnp.where(stops, text, lax.dynamic_update_slice(text, piece, (length,)))
        length = jnp.where(stops, length, length + count)
        return step + 1, depth + jnp.where(opens, 1, -1), names, text, length, stops

    longest = MAX_STEPS * (2 * LONGEST_NAME + 5)
    zero = jnp.zeros((), jnp.int32)
    names = jnp.zeros((MAX_STEPS, LONGEST_NAME), jnp.int32)
    text = jnp.zeros(longest + PIECE, jnp.int32)
    start = (zero, zero, names, text, zero, jnp.zeros((), bool))
    _, _, _, text, length, _ = lax.while_loop(goes_on, act, start)
    return Text(text[:longest], (jnp.arange(longest) < length).astype(jnp.float32), length)


def _tag(name: Array, closes: Array) -> tuple[Array, Array]:
    """`<name>` or `</name>` in `[PIECE]`, zeros past its end, and how many characters it has."""
    size = jnp.sum(name > 0)
    place = jnp.arange(PIECE) - 1 - closes  # in the name
    letter = name[jnp.clip(place, 0, LONGEST_NAME - 1)]
    piece = jnp.where(place < size, letter, jnp.where(place == size, CLOSE, 0))
    piece = piece.at[0].set(OPEN).at[1].set(jnp.where(closes, SLASH, piece[1]))
    return piece, size + 2 + closes
