"""The adding problem, in the five forms that bear its name, and the multiplication problem.

Every step shows a number and a marker; after the last step the sum (or mean, or product) of the
two marked numbers is asked for. The forms differ in the range of the numbers, in where the markers
may stand and in the scale of the target. An error in one form says nothing about another:

    form      numbers   markers                                  target            Var(target)
    hs97      U(-1, 1)  first 10 pairs; first T/2 - 1 others     .5 + (X1+X2)/4    .0417 *
    pascanu   U(0, 1)   first tenth; the four tenths after it    (X1 + X2)/2       .0417
    le        U(0, 1)   anywhere, distinct                       X1 + X2           .1667
    urnn      U(0, 1)   one in each half                         X1 + X2           .1667
    tcn       U(0, 1)   anywhere, distinct                       X1 + X2           .1667

The variance is the mean squared error of always answering the mean. (*) .0417 where the first pair
is not marked; over all sequences a little less, see `adding_hs97`.

Inputs are `[T, B, 2]`, number first and marker second; targets `[B]`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.tasks.episode import Episode, check_sizes, in_32_bits
from seqjax.types import Array


@in_32_bits
def adding_hs97(key: Array, batch_size: int, length: int) -> Episode:
    """Experiment 4 of Hochreiter and Schmidhuber (1997).

    Sequences of a random length between `length` and 1.1 `length`. One of the first ten pairs is
    marked with 1, then one of the first T/2 - 1 pairs still unmarked, T being the minimal length.
    The first and the last pair carry -1. If the first pair is marked, its number becomes 0 (which
    makes the target's variance a little less than 1/24).
    """
    return _hochreiter(
        key, batch_size, length, "adding_hs97", -1.0, 0.0, lambda a, b: 0.5 + (a + b) / 4
    )


@in_32_bits
def multiplication_hs97(key: Array, batch_size: int, length: int) -> Episode:
    """Experiment 5 of Hochreiter and Schmidhuber (1997): as experiment 4, numbers from U(0, 1).

    The target is the product; if the first pair is marked, its number becomes 1.
    """
    return _hochreiter(key, batch_size, length, "multiplication_hs97", 0.0, 1.0, lambda a, b: a * b)


@in_32_bits
def adding_pascanu(key: Array, batch_size: int, length: int) -> Episode:
    """The adding problem of the code of Pascanu, Mikolov and Bengio (2013): the mean of two.

    Lengths l are drawn from [length, 1.1 length), here for every row, there once for a batch; the
    first marker stands in the first l/10 steps, the second in the 4l/10 steps after them.
    """
    return _pascanu(key, batch_size, length, "adding_pascanu", lambda a, b: (a + b) / 2)


@in_32_bits
def multiplication_pascanu(key: Array, batch_size: int, length: int) -> Episode:
    """The multiplication problem of the same code: as `adding_pascanu`, target the product."""
    return _pascanu(key, batch_size, length, "multiplication_pascanu", lambda a, b: a * b)


@in_32_bits
def adding_tcn(key: Array, batch_size: int, length: int) -> Episode:
    """The adding problem of Bai, Kolter and Koltun (2018): two distinct positions anywhere."""
    check_sizes("the adding problem", batch_size, length, 2)
    key, first_key, second_key = jax.random.split(key, 3)
    first = jax.random.randint(first_key, (batch_size,), 0, length)
    second = jax.random.randint(second_key, (batch_size,), 0, length - 1)
    return _sum_of_two(key, length, first, second + (second >= first))


@in_32_bits
def adding_le(key: Array, batch_size: int, length: int) -> Episode:
    """The adding problem of Le, Jaitly and Hinton (2015): the sum of two numbers from U(0, 1).

    The paper does not say where the two markers stand; read here as `adding_tcn`, anywhere.
    """
    return adding_tcn(key, batch_size, length)


@in_32_bits
def adding_urnn(key: Array, batch_size: int, length: int) -> Episode:
    """The adding problem of Arjovsky, Shah and Bengio (2016): one marker in each half.

    Their 100,000 training sequences are drawn once; whoever wants that repeats keys.
    """
    check_sizes("adding_urnn", batch_size, length, 2)
    key, first_key, second_key = jax.random.split(key, 3)
    half = length // 2
    first = jax.random.randint(first_key, (batch_size,), 0, half)
    second = half + jax.random.randint(second_key, (batch_size,), 0, half)
    return _sum_of_two(key, length, first, second)


ADDING: dict[str, Callable[[Array, int, int], Episode]] = {
    "hs97": adding_hs97,
    "pascanu": adding_pascanu,
    "le": adding_le,
    "urnn": adding_urnn,
    "tcn": adding_tcn,
}


def _sum_of_two(key: Array, length: int, first: Array, second: Array) -> Episode:
    numbers = jax.random.uniform(key, (length, len(first)))
    return _episode(numbers, _markers(length, first, second), first, second, jnp.add)


def _hochreiter(
    key: Array,
    batch_size: int,
    length: int,
    name: str,
    low: float,
    neutral: float,
    combine: Callable[[Array, Array], Array],
) -> Episode:
    check_sizes(name, batch_size, length, 20)
    key, length_key, first_key, second_key = jax.random.split(key, 4)
    longest = length + length // 10
    lengths = jax.random.randint(length_key, (batch_size,), length, longest + 1)
    first = jax.random.randint(first_key, (batch_size,), 0, 10)
    second = jax.random.randint(second_key, (batch_size,), 0, length // 2 - 1)
    second = second + (second >= first)  # counted over the pairs that are still unmarked
    numbers = jax.random.uniform(key, (longest, batch_size), minval=low, maxval=1.0)
    first_pair_marked = (first == 0) | (second == 0)
    numbers = numbers.at[0].set(jnp.where(first_pair_marked, neutral, numbers[0]))
    markers = _markers(longest, first, second)
    t = jnp.arange(longest)[:, None]
    markers = jnp.where((t == lengths - 1) | ((t == 0) & (markers == 0)), -1.0, markers)
    return _episode(numbers, markers, first, second, combine, lengths)


def _pascanu(
    key: Array, batch_size: int, length: int, name: str, combine: Callable[[Array, Array], Array]
) -> Episode:
    check_sizes(name, batch_size, length, 10)
    key, length_key, first_key, second_key = jax.random.split(key, 4)
    lengths = length + jax.random.randint(length_key, (batch_size,), 0, length // 10)
    tenth = lengths // 10
    first = jax.random.randint(first_key, (batch_size,), 0, tenth)
    second = tenth + jax.random.randint(second_key, (batch_size,), 0, 4 * lengths // 10)
    longest = length + length // 10 - 1
    numbers = jax.random.uniform(key, (longest, batch_size))
    markers = _markers(longest, first, second)
    return _episode(numbers, markers, first, second, combine, lengths)


def _markers(length: int, first: Array, second: Array) -> Array:
    t = jnp.arange(length)[:, None]
    return ((t == first) | (t == second)).astype(jnp.float32)


def _episode(
    numbers: Array,
    markers: Array,
    first: Array,
    second: Array,
    combine: Callable[[Array, Array], Array],
    lengths: Array | None = None,
) -> Episode:
    row = jnp.arange(numbers.shape[1])
    targets = combine(numbers[first, row], numbers[second, row])
    inputs = jnp.stack([numbers, markers], axis=-1)
    if lengths is not None:
        inputs = jnp.where((jnp.arange(len(numbers))[:, None] < lengths)[..., None], inputs, 0.0)
    return Episode(inputs, targets, jnp.ones_like(targets), lengths)
