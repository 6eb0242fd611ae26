"""Beam search over any model that predicts one token at a time, in one compiled loop.

Semantics. A hypothesis is a string of tokens that ends in `end`, or is cut at `length` tokens without
it. Its log-probability is the sum over its tokens, `end` included; its score is that divided by its
length penalty. At each step every live beam is extended by every token. Of all extensions, by
log-probability, those among the first K that end are finished: they leave the beam, and the K best
scores among all finished ones are kept. The K best of the others live on. So K = 1 without a penalty
is greedy decoding, and where K is at least the number of strings the result is exact. The loop ends
when no live beam can overtake the worst of K finished ones, whatever follows.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from seqjax.errors import InputError, check_not_negative, check_positive
from seqjax.fast_scan.tabulate import tabulate
from seqjax.types import Array, State

# `(context, state, token) -> (state, logits [V])`, on one stream: no batch axis
ContextStep = Callable[[Any, State, Array], tuple[State, Array]]

LENGTH_PENALTIES = ("none", "average", "wu")


class Beams(NamedTuple):
    """The best hypotheses of each source, the best first."""

    tokens: Array  # [B, K, T] int32, filled up with `end`
    lengths: Array  # [B, K] int32, tokens of each, its `end` included
    log_probs: Array  # [B, K], their sums over tokens, in nats; -inf where there are fewer strings
    scores: Array  # [B, K], log_probs after the length penalty


class _Done(NamedTuple):
    """Finished hypotheses of one group, `[B, W, ...]`."""

    tokens: Array
    lengths: Array
    log_probs: Array
    scores: Array


class _Live(NamedTuple):
    """Hypotheses of one group that go on, `[B, W, ...]`."""

    tokens: Array
    log_probs: Array
    state: State  # after all tokens but the last
    last: Array


def beam_search(
    step: ContextStep,
    context: Any,
    state: State,
    first: Array,
    *,
    width: int,
    length: int,
    end: int,
    forbidden: Sequence[int] = (),
    length_penalty: str = "none",
    alpha: float = 0.6,
    groups: int = 1,
    diversity: float = 0.0,
) -> Beams:
    """The `width` best hypotheses that a beam search finds, for each of B sources; under `jit`.

    Args:
      step: `(context, state, token) -> (state, logits [V])`, one step of a model on one stream.
      context: what a source's every step reads and none changes, such as the states of an encoder;
        leaves `[B, ...]`. It is never copied for the beams. `()` for none.
      state: before the first token; leaves `[B, ...]`.
      first: tokens `[B]` that are read first and are no part of a hypothesis, such as `<s>`.
      width: K.
      length: the most tokens of a hypothesis, T.
      end: the token that ends one; a number that is no token where none does.
      forbidden: tokens that no hypothesis may contain. Their probability is not given to others.
      length_penalty: what a log-probability is divided by, where n tokens have it: "none", 1;
        "average", n; "wu", ((5 + n) / 6)^alpha (Wu et al., 2016).
      alpha: for "wu".
      groups: K is divided among so many groups, which choose one after the other at each step, and
        whose results are then ranked together (diverse beam search, Vijayakumar et al., 2018).
      diversity: nats taken, in choosing only, from a token for each beam of an earlier group that
        chose it at this step.

    Raises:
      InputError: if an argument is out of range.
    """
    _check(width, length, length_penalty, groups, diversity, alpha)
    if jnp.ndim(first) != 1 or not len(first):
        raise InputError(
            f"first must be one token for each of B sources, B >= 1, got shape {jnp.shape(first)}."
        )
    banned = [int(token) for token in np.asarray(forbidden, int).ravel()]
    batch, beams = first.shape[0], width // groups
    later = _tabulated(step, context, state, batch * width * length)

    def penalty(count: Array | int) -> Array:
        count = jnp.asarray(count, jnp.float32)
        if length_penalty == "none":
            return jnp.ones_like(count)
        return count if length_penalty == "average" else ((5 + count) / 6) ** alpha

    def start() -> tuple[_Live, _Done]:
        tokens = jnp.full((batch, beams, length), end, jnp.int32)
        nothing = jnp.full((batch, beams), -jnp.inf)
        live = _Live(
            tokens,
            nothing.at[:, 0].set(0.0),  # one empty hypothesis, not K of them
            jax.tree.map(lambda a: jnp.repeat(a[:, None], beams, 1), state),
            jnp.repeat(first[:, None], beams, 1).astype(jnp.int32),
        )
        return live, _Done(tokens, jnp.zeros((batch, beams), jnp.int32), nothing, nothing)

    def predict(live: _Live, step: ContextStep) -> tuple[State, Array]:
        over_beams = jax.vmap(step, in_axes=(None, 0, 0))
        state, logits = jax.vmap(over_beams)(context, live.state, live.last)
        log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
        unknown = [token for token in banned if not 0 <= token < log_p.shape[-1]]
        if unknown:
            raise InputError(
                f"forbidden must be tokens from 0 to {log_p.shape[-1] - 1}, got {unknown[0]}."
            )
        if banned:
            log_p = log_p.at[..., jnp.array(banned)].set(-jnp.inf)
        return state, log_p

    def advance(
        time: Array, live: _Live, done: _Done, chosen: Array, step: ContextStep
    ) -> tuple[_Live, _Done, Array]:
        """One step of one group; `chosen [B, V]` counts the tokens of earlier groups."""
        state, log_p = predict(live, step)
        vocab_size = log_p.shape[-1]
        total = live.log_probs[..., None] + log_p
        wanted = (total - diversity * chosen[:, None]).reshape(batch, -1)
        value, place = lax.top_k(wanted, min(2 * beams, beams * vocab_size))
        parent, token = place // vocab_size, (place % vocab_size).astype(jnp.int32)
        log_probs = jnp.take_along_axis(total.reshape(batch, -1), place, 1)
        tokens = _rows(live.tokens, parent).at[:, :, time].set(token)
        is_end = token == end
        among_first = jnp.arange(place.shape[1]) < beams
        finished = is_end & among_first & (log_probs > -jnp.inf)
        lengths = jnp.full_like(token, time + 1)
        scores = jnp.where(finished, log_probs / penalty(time + 1), -jnp.inf)
        done = _best(done, _Done(tokens, lengths, log_probs, scores))
        _, goes_on = lax.top_k(jnp.where(is_end, -jnp.inf, value), beams)
        none_left = jnp.take_along_axis(is_end, goes_on, 1)
        live = _Live(
            _rows(tokens, goes_on),
            jnp.where(none_left, -jnp.inf, _rows(log_probs, goes_on)),
            jax.tree.map(lambda a: _rows(a, _rows(parent, goes_on)), state),
            _rows(token, goes_on),
        )
        alive = (live.log_probs > -jnp.inf).astype(jnp.float32)
        chosen = chosen.at[jnp.arange(batch)[:, None], live.last].add(alive)
        return live, done, chosen

    def body(carry: tuple, step: ContextStep) -> tuple:
        time, search = carry
        shape = jax.eval_shape(lambda live: predict(live, step), search[0][0])[1].shape
        chosen = jnp.zeros((batch, shape[-1]))
        after = []
        for live, done in search:
            live, done, chosen = advance(time, live, done, chosen, step)
            after.append((live, done))
        return time + 1, tuple(after)

    def goes_on(carry: tuple) -> Array:
        time, search = carry
        # Log-probabilities only fall, and the larger the penalty the better for a negative number.
        overtakes = [
            jnp.any(live.log_probs.max(1) / penalty(length) > done.scores[:, -1])
            for live, done in search
        ]
        return (time < length) & jnp.any(jnp.stack(overtakes))

    carry: tuple = (jnp.zeros((), jnp.int32), (start(),) * groups)
    if later is not step:
        # what is read first need not be one of the V tokens, and then has no place in the table
        carry = body(carry, step)
    time, search = lax.while_loop(goes_on, lambda carry: body(carry, later), carry)
    merged: _Done | None = None
    for live, done in search:
        cut = jnp.where(time == length, live.log_probs / penalty(length), -jnp.inf)
        lengths = jnp.full_like(live.last, length)
        done = _best(done, _Done(live.tokens, lengths, live.log_probs, cut))
        merged = done if merged is None else _joined(merged, done)
    assert merged is not None
    _, order = lax.top_k(merged.scores, width)
    found = jax.tree.map(lambda a: _rows(a, order), merged)
    missing = found.scores == -jnp.inf
    return Beams(
        jnp.where(missing[..., None], end, found.tokens),
        jnp.where(missing, 0, found.lengths),
        jnp.where(missing, -jnp.inf, found.log_probs),
        found.scores,
    )


def _tabulated(step: ContextStep, context: Any, state: State, num_steps: int) -> ContextStep:
    """The same step, what it makes of a token alone looked up, where that is made more often than there are tokens."""

    def of_both(both: tuple[Any, State], token: Array) -> tuple[tuple[Any, State], Array]:
        state, logits = step(both[0], both[1], token)
        return (both[0], state), logits

    alone = jax.tree.map(lambda a: jnp.asarray(a)[0], (context, state))
    token = jax.ShapeDtypeStruct((), jnp.int32)
    vocab_size = jax.eval_shape(of_both, alone, token)[1].shape[-1]
    if vocab_size > num_steps:
        return step
    looked_up = tabulate(of_both, alone, vocab_size)
    if looked_up is of_both:
        return step

    def tabulated(context: Any, state: State, token: Array) -> tuple[State, Array]:
        (_, state), logits = looked_up((context, state), token)
        return state, logits

    return tabulated


def _best(done: _Done, new: _Done) -> _Done:
    """The best of both, as many as `done` has; of equal scores the one that was there before."""
    both = _joined(done, new)
    _, order = lax.top_k(both.scores, done.scores.shape[1])
    return jax.tree.map(lambda a: _rows(a, order), both)


def _joined(a: _Done, b: _Done) -> _Done:
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y], 1), a, b)


def _rows(array: Array, places: Array) -> Array:
    """`array [B, N, ...]` at `places [B, M]`: `[B, M, ...]`."""
    return jax.vmap(lambda a, p: a[p])(array, places)


def _check(
    width: int, length: int, length_penalty: str, groups: int, diversity: float, alpha: float
) -> None:
    check_positive("width", width, at_most=2**16)
    check_positive("length", length)
    check_positive("groups", groups)
    check_not_negative("diversity", diversity)
    check_not_negative("alpha", alpha)
    if width % groups:
        raise InputError(f"width must be a multiple of groups, got {width} and {groups}.")
    if diversity and groups == 1:
        raise InputError(f"diversity={diversity} needs more than one of groups, got 1.")
    if length_penalty not in LENGTH_PENALTIES:
        raise InputError(
            f"length_penalty must be one of {', '.join(LENGTH_PENALTIES)}, got {length_penalty!r}."
        )
