"""Sums to be worked out character by character (Jozefowicz, Zaremba and Sutskever, 2015).

    3e36d9-h1h39f94eeh43keg3c=-13991064.         3369 - 13994433 = -13991064

Two numbers are added or subtracted, with letters that mean nothing between the characters; after
the "=" comes the answer, and a full stop. The next example follows without a gap.

The paper gives the example and "up to 8 digits", and no distributions. Here a number has 1 to
max_digits digits, all counts and all numbers of a count being equally likely; plus and minus are
too; before every character but the first stand 0, 1, 2 or 3 letters with probability 1/2, 1/4, 1/8,
1/8 (in the paper's example: 5, 6, 0 and 2 times out of 13).
"""

import string
from functools import partial

import jax
import jax.numpy as jnp

from seqjax.errors import check_positive
from seqjax.tasks.episode import Episode, in_32_bits
from seqjax.tasks.stream import Text, stream
from seqjax.types import Array

ALPHABET = string.digits + "+-=." + string.ascii_lowercase
PLUS, MINUS, EQUALS, STOP = (ALPHABET.index(c) for c in "+-=.")
MOST_DIGITS = 9  # int32 holds the sum of two such numbers
MOST_LETTERS = 3  # between two characters


@in_32_bits
def arithmetic(key: Array, batch_size: int, length: int, *, max_digits: int = 8) -> Episode:
    """A stream of sums: inputs one-hot `[T, B, 40]` in the order of `ALPHABET`.

    Targets `[T, B]` are the next characters; only those of answers count, full stops included.

    Raises:
      InputError: if max_digits is not from 1 to 9 (what int32 can add), or a size not positive.
    """
    check_positive("max_digits", max_digits, MOST_DIGITS)
    example = partial(arithmetic_example, max_digits=max_digits)
    return stream("arithmetic", example, key, batch_size, length, ALPHABET)


@in_32_bits
def arithmetic_example(key: Array, *, max_digits: int = 8) -> Text:
    """One sum with its answer; the characters of the answer are scored.

    Raises:
      InputError: if max_digits is not from 1 to 9.
    """
    check_positive("max_digits", max_digits, MOST_DIGITS)
    a_key, b_key, sign_key, gap_key, letter_key = jax.random.split(key, 5)
    a, b = _number(a_key, max_digits), _number(b_key, max_digits)
    minus = jax.random.bernoulli(sign_key)
    answer = jnp.where(minus, a - b, a + b)

    # Every character that could stand there has a slot, and every slot takes its width of the text.
    symbols, used = _join(
        _digits(a, max_digits),
        _one(jnp.where(minus, MINUS, PLUS)),
        _digits(b, max_digits),
        _one(EQUALS),
        _one(MINUS, answer < 0),
        _digits(jnp.abs(answer), max_digits + 1),
        _one(STOP),
    )
    slot = jnp.arange(len(symbols))
    in_answer = slot > 2 * max_digits + 1
    chances = jnp.array([0.5, 0.25, 0.125, 0.125])
    letters = jax.random.choice(gap_key, MOST_LETTERS + 1, slot.shape, p=chances)
    first = jnp.argmax(used)
    width = used * (1 + jnp.where(in_answer | (slot == first), 0, letters))
    ends = jnp.cumsum(width)

    longest = len(symbols) + MOST_LETTERS * (2 * max_digits + 1)
    place = jnp.where(used, ends - 1, longest)  # what is not used falls off the end
    text = jax.random.randint(letter_key, (longest,), STOP + 1, len(ALPHABET))
    text = text.at[place].set(symbols, mode="drop")
    scored = jnp.zeros(longest).at[place].set(in_answer.astype(jnp.float32), mode="drop")
    return Text(jnp.where(jnp.arange(longest) < ends[-1], text, 0), scored, ends[-1])


def _number(key: Array, max_digits: int) -> Array:
    """A number of 1 to `max_digits` digits, without leading zeros."""
    count_key, number_key = jax.random.split(key)
    count = jax.random.randint(count_key, (), 0, max_digits)
    powers = jnp.array([10**i for i in range(MOST_DIGITS + 1)], jnp.int32)
    low = jnp.where(count == 0, 0, powers[count])
    return jax.random.randint(number_key, (), low, powers[count + 1])


def _digits(number: Array, places: int) -> tuple[Array, Array]:
    """The digits `[places]`, highest first, and which of them are written."""
    powers = jnp.array([10**i for i in reversed(range(places))], jnp.int32)
    return number // powers % 10, (number >= powers) | (powers == 1)


def _one(symbol: int | Array, used: bool | Array = True) -> tuple[Array, Array]:
    return jnp.asarray(symbol)[None], jnp.asarray(used)[None]


def _join(*slots: tuple[Array, Array]) -> tuple[Array, Array]:
    symbols, used = zip(*slots, strict=True)
    return jnp.concatenate(symbols), jnp.concatenate(used)
