"""Tasks that ask for a string again after a lag: copying, memorisation, selective copying.

Inputs are one-hot `[T, B, D]`, targets int32 classes `[T, B]`.
"""

import jax
import jax.numpy as jnp

from seqjax.errors import InputError, check_positive
from seqjax.tasks.episode import Episode, check_sizes, in_32_bits
from seqjax.types import Array


@in_32_bits
def copying(
    key: Array, batch_size: int, length: int, *, num_symbols: int = 10, num_values: int = 8
) -> Episode:
    """The copying problem of Arjovsky, Shah and Bengio (2016), T = `length` + 2 num_symbols.

    num_symbols symbols, `length` - 1 blanks, ONE marker, then num_symbols blanks during which the
    symbols are asked for; before, the answer is blank. (Copies whose marker stands through the
    whole recall window are easier.) Input classes: 0 blank, 1 to num_values the symbols,
    num_values + 1 the marker; the marker is never an answer. Every step counts, and answering
    blank, then guessing, costs num_symbols · ln(num_values) / T nats per step.
    """
    check_sizes("copying", batch_size, length, 1)
    _check_string(num_symbols, num_values)
    symbols = 1 + jax.random.randint(key, (num_symbols, batch_size), 0, num_values)
    num_steps = length + 2 * num_symbols
    shown = jnp.zeros((num_steps, batch_size), jnp.int32)
    shown = shown.at[:num_symbols].set(symbols).at[num_symbols + length - 1].set(num_values + 1)
    targets = jnp.zeros_like(shown).at[-num_symbols:].set(symbols)
    return Episode(jax.nn.one_hot(shown, num_values + 2), targets, jnp.ones(targets.shape))


@in_32_bits
def memorisation(
    key: Array, batch_size: int, length: int, *, num_symbols: int = 10, num_values: int = 5
) -> Episode:
    """Noiseless memorisation (Martens and Sutskever, 2011), T = `length` + 2 num_symbols.

    num_symbols symbols, `length` blanks, and the marker at the very step at which the first symbol
    is asked for, then blanks, as in the code of Pascanu, Mikolov and Bengio (2013). Classes: 0 to
    num_values - 1 the symbols, num_values blank; input class num_values + 1 the marker. Every step
    counts. The defaults are the "20-bit" task (5^10 strings, 23 bits); see `memorisation_5_bit`.
    """
    check_sizes("memorisation", batch_size, length, 1)
    _check_string(num_symbols, num_values)
    symbols = jax.random.randint(key, (num_symbols, batch_size), 0, num_values)
    blank = jnp.full((length + 2 * num_symbols, batch_size), num_values, jnp.int32)
    shown = blank.at[:num_symbols].set(symbols).at[num_symbols + length].set(num_values + 1)
    targets = blank.at[-num_symbols:].set(symbols)
    return Episode(jax.nn.one_hot(shown, num_values + 2), targets, jnp.ones(targets.shape))


@in_32_bits
def memorisation_5_bit(key: Array, batch_size: int, length: int) -> Episode:
    """`memorisation` of 5 binary symbols: 32 strings."""
    return memorisation(key, batch_size, length, num_symbols=5, num_values=2)


@in_32_bits
def memorisation_20_bit(key: Array, batch_size: int, length: int) -> Episode:
    """`memorisation` of 10 symbols out of 5."""
    return memorisation(key, batch_size, length)


@in_32_bits
def memorisation_filter(key: Array, batch_size: int, length: int = 1) -> Episode:
    """`memorisation` of 5 symbols out of 26, of which only the answers count.

    Jozefowicz, Zaremba and Sutskever (2015) let no cell into their search that had not learnt to
    give 95% of them back. They do not say whether anything stands between reading and answering;
    here it is one blank, or `length`.
    """
    episode = memorisation(key, batch_size, length, num_symbols=5, num_values=26)
    asked = jnp.arange(len(episode.targets)) >= 5 + length
    return episode._replace(weights=episode.weights * asked[:, None])


@in_32_bits
def selective_copying(
    key: Array, batch_size: int, length: int, *, num_symbols: int = 16, num_classes: int = 16
) -> Episode:
    """Selective copying (Gu and Dao, 2023), T = `length` + 2 num_symbols.

    num_symbols symbols at random places among `length` blanks, then as many markers, during which
    the symbols are asked for in their order. Classes: 0 blank, num_classes - 1 the marker, the
    symbols those between. Only the answers count.
    """
    check_sizes("selective copying", batch_size, length, 1)
    _check_string(num_symbols, num_classes - 2)
    place_key, symbol_key = jax.random.split(key)
    symbols = jax.random.randint(symbol_key, (num_symbols, batch_size), 1, num_classes - 1)
    order = jax.random.uniform(place_key, (length + num_symbols, batch_size)).argsort(axis=0)
    places = jnp.sort(order[:num_symbols], axis=0)
    shown = jnp.full((length + 2 * num_symbols, batch_size), num_classes - 1, jnp.int32)
    shown = shown.at[: length + num_symbols].set(0)
    shown = shown.at[places, jnp.arange(batch_size)].set(symbols)
    targets = jnp.zeros_like(shown).at[-num_symbols:].set(symbols)
    weights = jnp.zeros(shown.shape).at[-num_symbols:].set(1.0)
    return Episode(jax.nn.one_hot(shown, num_classes), targets, weights)


def _check_string(num_symbols: int, num_values: int) -> None:
    check_positive("num_symbols", num_symbols)
    if num_values < 2:
        raise InputError(f"a string to recall needs at least 2 kinds of symbol, got {num_values}.")
