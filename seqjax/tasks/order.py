"""Temporal order: a few symbols among distractors, and in which order they came is the class.

Each critical symbol is one of two; the class is the binary number they spell, the first the lowest
bit. Inputs are one-hot `[T, B, D]`, targets int32 classes `[B]`.
"""

import jax
import jax.numpy as jnp

from seqjax.tasks.episode import Episode, check_sizes, in_32_bits
from seqjax.types import Array


@in_32_bits
def temporal_order_2_bit(key: Array, batch_size: int, length: int) -> Episode:
    """Two critical symbols, four classes, as in the code of Pascanu, Mikolov and Bengio (2013).

    They stand in [.1, .2) and [.5, .6) of the sequence (the code's comment gives other ranges).
    D = 6: the two critical symbols, then four distractors.
    """
    return _among_distractors(key, batch_size, length, (1, 5))


@in_32_bits
def temporal_order_3_bit(key: Array, batch_size: int, length: int) -> Episode:
    """Three critical symbols, eight classes, in [.1, .2), [.3, .4) and [.6, .7) of the sequence.

    From the same code; D = 6.
    """
    return _among_distractors(key, batch_size, length, (1, 3, 6))


@in_32_bits
def temporal_order_6a(key: Array, batch_size: int, length: int = 100) -> Episode:
    """Experiment 6a of Hochreiter and Schmidhuber (1997): two critical symbols, four classes.

    Lengths between 100 and 110; the symbols X or Y stand at t in [10, 20] and [50, 60], counted
    from 0; the first element is E and the last B, the others are drawn from {a, b, c, d}. D = 8 in
    the order X, Y, a, b, c, d, E, B. Another `length` scales all positions with it.
    """
    return _between_e_and_b(key, batch_size, length, ((10, 20), (50, 60)))


@in_32_bits
def temporal_order_6b(key: Array, batch_size: int, length: int = 100) -> Episode:
    """Experiment 6b: as `temporal_order_6a` with a third symbol, t in [10,20], [33,43], [66,76]."""
    return _between_e_and_b(key, batch_size, length, ((10, 20), (33, 43), (66, 76)))


def _among_distractors(
    key: Array, batch_size: int, length: int, tenths: tuple[int, ...]
) -> Episode:
    check_sizes("temporal order", batch_size, length, 10)
    ranges = [(length * tenth // 10, length * tenth // 10 + length // 10) for tenth in tenths]
    symbols, targets = _symbols(key, batch_size, length, ranges)
    return Episode(jax.nn.one_hot(symbols, 6), targets, jnp.ones(batch_size))


def _between_e_and_b(
    key: Array, batch_size: int, length: int, percents: tuple[tuple[int, int], ...]
) -> Episode:
    check_sizes("temporal order", batch_size, length, 10)
    key, length_key = jax.random.split(key)
    longest = length + length // 10
    lengths = jax.random.randint(length_key, (batch_size,), length, longest + 1)
    ranges = [(length * low // 100, length * high // 100 + 1) for low, high in percents]
    symbols, targets = _symbols(key, batch_size, longest, ranges)
    t = jnp.arange(longest)[:, None]
    symbols = jnp.where(t == 0, 6, jnp.where(t == lengths - 1, 7, symbols))
    inputs = jax.nn.one_hot(symbols, 8) * (t < lengths)[..., None]
    return Episode(inputs, targets, jnp.ones(batch_size), lengths)


def _symbols(
    key: Array, batch_size: int, length: int, ranges: list[tuple[int, int]]
) -> tuple[Array, Array]:
    """Symbols `[T, B]`, 0 and 1 critical, 2 to 5 distractors; and the classes `[B]`."""
    key, *keys = jax.random.split(key, 1 + 2 * len(ranges))
    symbols = jax.random.randint(key, (length, batch_size), 2, 6)
    targets = jnp.zeros(batch_size, jnp.int32)
    row = jnp.arange(batch_size)
    for bit, (low, high) in enumerate(ranges):
        position = jax.random.randint(keys[2 * bit], (batch_size,), low, high)
        value = jax.random.randint(keys[2 * bit + 1], (batch_size,), 0, 2)
        symbols = symbols.at[position, row].set(value)
        targets = targets + value * 2**bit
    return symbols, targets
