"""Embedded Reber strings (Hochreiter and Schmidhuber, 1997), one by one or as an endless stream.

    B o [B inner E] o E        o is T or P, the same both times; inner is a string of Reber's grammar

To predict the second o, six or more steps after the first, is the long lag; everything else follows
from the last few symbols. The automaton is a table: `successors` gives what may follow, `outer` the
steps where the second o is due.

Inputs are one-hot `[T, B, 7]` in the order of `ALPHABET`; targets the next symbols, int32 `[T, B]`.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.tasks.episode import Episode, check_sizes, in_32_bits
from seqjax.types import Array

ALPHABET = "BTPSXVE"
SHORTEST = 9  # symbols of the shortest embedded string, BTBTXSETE

# Reber's grammar: node -> the two symbols that may come, and the node each leads to.
_INNER = (("TP", (1, 2)), ("SX", (1, 3)), ("TV", (2, 4)), ("XS", (2, 5)), ("PV", (3, 5)))


def _table() -> tuple[Array, Array]:
    """Per state the two choices (often the same): symbols `[20, 2]` and next states `[20, 2]`.

    State 0 awaits the first B, 1 the first o. Then, once for o = T and once for P, nine states:
    the inner B, the inner nodes 0 to 4, the inner E, the second o, the last E.
    """
    choices = [("BB", (1, 1)), ("TP", (2, 11))]
    for outer, base in (("T", 2), ("P", 11)):
        inner = [(pair, (base + 1 + left, base + 1 + right)) for pair, (left, right) in _INNER]
        tail = [("EE", (base + 7,) * 2), (2 * outer, (base + 8,) * 2), ("EE", (0, 0))]
        choices += [("BB", (base + 1,) * 2), *inner, *tail]
    symbols = [[ALPHABET.index(s) for s in pair] for pair, _ in choices]
    return jnp.array(symbols), jnp.array([list(states) for _, states in choices])


@in_32_bits
def continual_reber(key: Array, batch_size: int, length: int) -> Episode:
    """Streams of embedded Reber strings, one after the other without a mark or a reset.

    The continual task of Gers, Schmidhuber and Cummins (2000). Each row is a stream of `length`
    inputs that begins with a string and is cut wherever it ends. Every step counts.
    """
    check_sizes("continual_reber", batch_size, length, 1)
    symbols, _ = _stream(key, batch_size, length + 1)
    return Episode(_one_hot(symbols[:-1]), symbols[1:], jnp.ones((length, batch_size)))


@in_32_bits
def embedded_reber(key: Array, batch_size: int, length: int) -> Episode:
    """One embedded Reber string per row, padded to `length` inputs.

    A string of n symbols makes n - 1 predictions, and `lengths` says so. Strings are unbounded, of
    about 12 symbols in the mean: one that is longer than `length` + 1 is cut there.
    """
    check_sizes("embedded_reber", batch_size, length, SHORTEST - 1)
    symbols, states = _stream(key, batch_size, length + 1)
    ended = states == 0  # after the string's last symbol
    lengths = jnp.where(ended.any(axis=0), ended.argmax(axis=0), length).astype(jnp.int32)
    live = jnp.arange(length)[:, None] < lengths
    return Episode(
        _one_hot(symbols[:-1]) * live[..., None],
        jnp.where(live, symbols[1:], 0),
        live.astype(jnp.float32),
        lengths,
    )


@in_32_bits
def successors(symbols: Array) -> Array:
    """Which symbols may follow each one: bool `[T, B, 7]` for streams `[T, B]` of symbols.

    A stream starts with the first B of a string. After a symbol that the grammar does not allow
    nothing is allowed any more.
    """
    emitted, leads_to = _table()
    dead = len(emitted)

    def step(state: Array, symbol: Array) -> tuple[Array, Array]:
        alive = state < dead
        options = emitted[state % dead] == symbol[:, None]
        nexts = jnp.take_along_axis(leads_to[state % dead], options.argmax(-1)[:, None], 1)[:, 0]
        state = jnp.where(alive & options.any(-1), nexts, dead)
        allowed = _one_hot(emitted[state % dead]).any(axis=-2)
        return state, allowed & (state < dead)[:, None]

    return lax.scan(step, jnp.zeros(symbols.shape[1], jnp.int32), symbols)[1]


def outer(allowed: Array) -> Array:
    """The steps before the second o, the only ones where T alone or P alone may follow.

    `allowed` `[..., 7]` from `successors`; returns bool `[...]`.
    """
    either = allowed[..., ALPHABET.index("T")] | allowed[..., ALPHABET.index("P")]
    return either & (allowed.sum(axis=-1) == 1)


_one_hot = partial(jax.nn.one_hot, num_classes=len(ALPHABET))


def _stream(key: Array, batch_size: int, length: int) -> tuple[Array, Array]:
    """Symbols `[T, B]` and the automaton's state after each, `[T, B]`."""
    emitted, leads_to = _table()

    def step(state: Array, choice: Array) -> tuple[Array, tuple[Array, Array]]:
        symbol, state = emitted[state, choice], leads_to[state, choice]
        return state, (symbol, state)

    choices = jax.random.randint(key, (length, batch_size), 0, 2)
    return lax.scan(step, jnp.zeros(batch_size, jnp.int32), choices)[1]
