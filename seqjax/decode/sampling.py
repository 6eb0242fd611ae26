"""Generating from a model, one token at a time, in one compiled loop."""

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.errors import InputError, check_positive
from seqjax.fast_scan.tabulate import TokenStep, tabulate
from seqjax.types import Array, State


def generate(
    step: TokenStep,
    state: State,
    prime: Array,
    key: Array,
    *,
    length: int,
    temperature: float | Array = 1.0,
    top_k: int = 0,
) -> Array:
    """Reads `prime`, then draws `length` tokens, each from the model's own prediction.

    Args:
      step: `(state, token) -> (state, logits [V])`, one step of a model on one stream: no batch
        axis. Here it runs under `vmap`.
      state: the state before the first token of `prime`; leaves `[B, ...]`.
      prime: tokens `[B, T]`, T >= 1, to read before the first draw.
      key: a PRNG key; consumed.
      length: tokens to draw.
      temperature: logits are divided by it; 0 takes the most probable token (greedy). May be
        traced, and is not checked then.
      top_k: draw among the k most probable tokens only, the first ones of equals; 0 for all.

    Returns:
      The drawn tokens `[B, length]`, int32, without `prime`.

    Raises:
      InputError: if an argument is out of range.
    """
    check_positive("length", length)
    _check_choice(temperature, top_k)
    if prime.ndim != 2 or prime.shape[1] < 1:
        raise InputError(f"prime must be tokens [B, T] with T >= 1, got shape {prime.shape}.")

    state, logits = lax.scan(jax.vmap(step), state, prime.T)
    vocab_size = logits.shape[-1]
    if vocab_size <= prime.shape[0] * length:  # a table costs as much as V draws save
        step = tabulate(step, jax.tree.map(lambda a: a[0], state), vocab_size)

    def draw(carry: tuple[State, Array], key: Array) -> tuple[tuple[State, Array], Array]:
        state, logits = carry
        token = pick(logits, key, temperature=temperature, top_k=top_k)
        return jax.vmap(step)(state, token), token

    _, tokens = lax.scan(draw, (state, logits[-1]), jax.random.split(key, length))
    return tokens.T


def pick(logits: Array, key: Array, *, temperature: float | Array = 1.0, top_k: int = 0) -> Array:
    """Draws one token `[...]` int32 from logits `[..., V]`; arguments and errors as `generate`."""
    _check_choice(temperature, top_k)
    greedy = temperature < jnp.finfo(jnp.float32).tiny  # the limit, where a division would overflow
    if isinstance(greedy, jax.core.Tracer):
        drawn = _draw(logits, key, jnp.where(greedy, 1, temperature), top_k)
        return jnp.where(greedy, jnp.argmax(logits, -1).astype(jnp.int32), drawn)
    if greedy:
        return jnp.argmax(logits, -1).astype(jnp.int32)
    return _draw(logits, key, temperature, top_k)


def _draw(logits: Array, key: Array, temperature: float | Array, top_k: int) -> Array:
    if 0 < top_k < logits.shape[-1]:
        values, tokens = lax.top_k(logits, top_k)
        none = jnp.full_like(logits, -jnp.inf)
        logits = jnp.put_along_axis(none, tokens, values, axis=-1, inplace=False)
    logits = logits - jnp.max(logits, -1, keepdims=True)
    return jax.random.categorical(key, logits / temperature).astype(jnp.int32)


def _check_choice(temperature: float | Array, top_k: int) -> None:
    known = not isinstance(temperature, jax.core.Tracer)
    if known and not 0 <= temperature < float("inf"):
        raise InputError(f"temperature must be a finite number of at least 0, got {temperature}.")
    if top_k < 0:
        raise InputError(f"top_k must be 0 (all tokens) or more, got {top_k}.")
