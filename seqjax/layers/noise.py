"""Dropout on what goes into a recurrent layer and comes out of it, as pure functions of a key.

Time-major, `[T, B, D]`. What is kept is divided by the share that is kept; a rate may be an array, which a
population varies.
"""

import jax
import jax.numpy as jnp

from seqjax.types import Array
from seqjax.wrappers.dropout import check_share, draw_mask


def drop_units(xs: Array, key: Array, rate: float | Array) -> Array:
    """Zeros a share of the entries, a mask for every row, step and unit (Zaremba et al., 2014).

    Args:
      xs: `[T, B, D]`.
      key: a PRNG key.
      rate: the share, in [0, 1).
    """
    check_share("rate", rate)
    return xs * draw_mask(key, rate, xs.shape).astype(xs.dtype)


def drop_steps(xs: Array, key: Array, rate: float | Array) -> Array:
    """Zeros the same share of units at all steps of a row (Gal and Ghahramani, 2016). As `drop_units`."""
    check_share("rate", rate)
    return xs * draw_mask(key, rate, xs.shape[1:]).astype(xs.dtype)


def drop_types(tokens: Array, vocab_size: int, key: Array, rate: float | Array) -> Array:
    """Factors `[B, T]` for the vectors of tokens `[B, T]`: a share of the types of each row is dropped.

    All tokens of a type in a row are dropped or kept together (Gal and Ghahramani, 2016, section 4.2).
    """
    check_share("rate", rate)
    mask = draw_mask(key, rate, (tokens.shape[0], vocab_size))
    return jnp.take_along_axis(mask, tokens, axis=1)


def drop_words(tokens: Array, key: Array, rate: float | Array, unknown: int) -> Array:
    """Tokens `[B, T]`, a share of them replaced by `unknown`, each by itself (Iyyer et al., 2015)."""
    check_share("rate", rate)
    dropped = jax.random.bernoulli(key, rate, tokens.shape)
    return jnp.where(dropped, jnp.asarray(unknown, tokens.dtype), tokens)
