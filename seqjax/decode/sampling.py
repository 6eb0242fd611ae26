"""Generating from a model, one token at a time, in one compiled loop."""

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.errors import InputError, check_positive
from seqjax.fast_scan.tabulate import TokenStep, tabulate
from seqjax.types import Array, State, float32_or_wider


def generate(
    step: TokenStep,
    state: State,
    prime: Array,
    key: Array,
    *,
    length: int,
    temperature: float | Array = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
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
      top_p: draw among the fewest most probable tokens that have this probability together, after
        temperature and top_k (Holtzman et al., 2020); 1 for all.
      repetition_penalty: logits of tokens that were read or drawn before are divided by it if they are
        positive, and multiplied if negative (Keskar et al., 2019); 1 for none.

    Returns:
      The drawn tokens `[B, length]`, int32, without `prime`.

    Raises:
      InputError: if an argument is out of range.
    """
    check_positive("length", length)
    temperature = _checked_choice(temperature, top_k, top_p)
    if not 0 < repetition_penalty < float("inf"):
        raise InputError(f"repetition_penalty must be above 0, got {repetition_penalty}.")
    if prime.ndim != 2 or prime.shape[1] < 1:
        raise InputError(f"prime must be tokens [B, T] with T >= 1, got shape {prime.shape}.")

    state, logits = lax.scan(jax.vmap(step), state, prime.T)
    vocab_size = logits.shape[-1]
    if vocab_size <= prime.shape[0] * length:  # a table costs as much as V draws save
        step = tabulate(step, jax.tree.map(lambda a: a[0], state), vocab_size)

    rows = jnp.arange(prime.shape[0])
    seen = None
    if repetition_penalty != 1:
        seen = jnp.zeros((prime.shape[0], vocab_size), bool).at[rows[:, None], prime].set(True)

    def draw(carry: tuple, key: Array) -> tuple[tuple, Array]:
        (state, logits), seen = carry
        if seen is not None:
            less = jnp.where(logits > 0, logits / repetition_penalty, logits * repetition_penalty)
            logits = jnp.where(seen, less, logits)
        token = pick(logits, key, temperature=temperature, top_k=top_k, top_p=top_p)
        seen = None if seen is None else seen.at[rows, token].set(True)
        return (jax.vmap(step)(state, token), seen), token

    _, tokens = lax.scan(draw, ((state, logits[-1]), seen), jax.random.split(key, length))
    return tokens.T


def pick(
    logits: Array,
    key: Array,
    *,
    temperature: float | Array = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Array:
    """Draws one token `[...]` int32 from logits `[..., V]`; arguments and errors as `generate`."""
    temperature = _checked_choice(temperature, top_k, top_p)
    greedy = temperature < jnp.finfo(jnp.float32).tiny  # the limit, where a division would overflow
    if isinstance(greedy, jax.core.Tracer):
        drawn = _draw(logits, key, jnp.where(greedy, 1, temperature), top_k, top_p)
        return jnp.where(greedy, jnp.argmax(logits, -1).astype(jnp.int32), drawn)
    if greedy:
        return jnp.argmax(logits, -1).astype(jnp.int32)
    return _draw(logits, key, temperature, top_k, top_p)


def _draw(logits: Array, key: Array, temperature: float | Array, top_k: int, top_p: float) -> Array:
    # The noise of a draw has the precision of the logits: with 8 bits of it, many tokens share the largest.
    logits = logits.astype(float32_or_wider(logits))
    if 0 < top_k < logits.shape[-1]:
        values, tokens = lax.top_k(logits, top_k)
        none = jnp.full_like(logits, -jnp.inf)
        logits = jnp.put_along_axis(none, tokens, values, axis=-1, inplace=False)
    logits = (logits - jnp.max(logits, -1, keepdims=True)) / temperature
    if top_p < 1:
        order = jnp.argsort(-logits, -1, stable=True)
        share = jnp.take_along_axis(jax.nn.softmax(logits), order, -1)
        before = jnp.cumsum(share, -1) - share  # of the tokens that are more probable
        kept = jnp.zeros(logits.shape, bool)
        kept = jnp.put_along_axis(kept, order, before < top_p, axis=-1, inplace=False)
        logits = jnp.where(kept, logits, -jnp.inf)
    return jax.random.categorical(key, logits).astype(jnp.int32)


def _checked_choice(temperature: float | Array, top_k: int, top_p: float) -> float | Array:
    """The temperature, as a number where it is known."""
    if jnp.shape(temperature) != ():
        raise InputError(
            f"temperature must be one number, got an array of shape {jnp.shape(temperature)}."
        )
    if not isinstance(temperature, jax.core.Tracer):
        temperature = float(temperature)
        if not 0 <= temperature < float("inf"):
            raise InputError(
                f"temperature must be a finite number of at least 0, got {temperature}."
            )
    if top_k < 0:
        raise InputError(f"top_k must be 0 (all tokens) or more, got {top_k}.")
    if not 0 < top_p <= 1:
        raise InputError(f"top_p must lie above 0 and at most be 1 (all tokens), got {top_p}.")
    return temperature
