"""Attention: how much of each place of a memory a query reads. Exactly nothing of the padding.

With q the query and m_j the memory at place j, the weights are the softmax over j of

    additive  vᵀ tanh(W q + U m_j + b)    (Bahdanau et al., 2015)
    dot       qᵀ m_j                      (Luong et al., 2015)
    general   qᵀ W m_j                    (Luong et al., 2015)

and what is read is the sum of the weighted m_j. `attend` is a pure function, so that it can stand
inside a recurrent step; what does not depend on the query, U m_j + b say, is computed before the loop.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax import init
from seqjax.errors import InputError, check_positive
from seqjax.types import Array, Params

SCORES = ("additive", "dot", "general")


class Memory(NamedTuple):
    """What can be read, S places of it; `Attention.memory` makes one."""

    values: Array  # [..., S, M], zeros where not valid
    keys: Array  # [..., S, A], what a query is compared with
    valid: Array  # [..., S] bool


def attend(params: Params, query: Array, memory: Memory) -> tuple[Array, Array]:
    """Reads from a memory: `query [..., Q] -> (read [..., M], weights [..., S])`.

    Args:
      params: from `Attention.arrays`: the entries `query` and `score` of an additive score, or none.
      query: with the memory's batch axes.
      memory: what is read.

    The weights sum to 1 over the valid places and are 0 at all others; where no place is valid, all are
    0, and so is what is read.
    """
    if params:
        hidden = jnp.tanh((query @ params["query"])[..., None, :] + memory.keys)
        scores = hidden @ params["score"]
    else:
        scores = jnp.einsum("...a,...sa->...s", query, memory.keys)
    scores = jnp.where(memory.valid, scores, -jnp.inf)
    top = jnp.max(scores, -1, keepdims=True)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    shares = jnp.where(memory.valid, jnp.exp(scores - top), 0)
    total = shares.sum(-1, keepdims=True)
    weights = shares / jnp.where(total > 0, total, 1)
    return jnp.einsum("...s,...sm->...m", weights, memory.values), weights


class Attention(nnx.Module):
    """The parameters of an attention, and the memory that it reads.

    Args:
      score: one of SCORES.
      query_size: Q.
      memory_size: M; of a dot product, Q too.
      size: A of an additive score; Q if 0.
      rngs: parameters are drawn from `rngs.params`.

    Raises:
      InputError: if the score is unknown, a size is out of range or of another score, or a dot product is
        asked for of vectors of two sizes.
    """

    def __init__(
        self, score: str, query_size: int, memory_size: int, *, size: int = 0, rngs: nnx.Rngs
    ):
        if score not in SCORES:
            raise InputError(f"attention must be one of {', '.join(SCORES)}, got {score!r}.")
        check_positive("query_size", query_size)
        check_positive("memory_size", memory_size)
        if score == "dot" and query_size != memory_size:
            raise InputError(
                f"attention='dot' compares vectors of one size, got queries of {query_size} and a"
                f" memory of {memory_size}: take 'general'."
            )
        if size:
            check_positive("size", size)
            if score != "additive":
                raise InputError(
                    f"size is of an additive score: leave it out of attention={score!r}."
                )
        size = size or query_size
        params = {}
        if score == "additive":
            draw = init.lecun_normal()
            params["query"] = nnx.Param(draw(rngs.params(), (query_size, size)))
            params["score"] = nnx.Param(draw(rngs.params(), (size, 1))[:, 0])
        self.params = nnx.data(params)
        if score == "dot":
            self.keys = None
        else:
            self.keys = nnx.Linear(memory_size, size, use_bias=score == "additive", rngs=rngs)

    def memory(self, values: Array, lengths: Array | None = None) -> Memory:
        """The memory `values [B, S, M]`, of which each row has `lengths [B]` places; None for all.

        What stands in the padding, NaN included, changes neither values nor gradients.
        """
        valid = jnp.ones(values.shape[:2], bool)
        if lengths is not None:
            valid = jnp.arange(values.shape[1]) < lengths[:, None]
        values = jnp.where(valid[..., None], values, 0)
        return Memory(values, values if self.keys is None else self.keys(values), valid)

    def arrays(self) -> Params:
        """The parameters that a step needs, as plain arrays."""
        return {name: param.get_value() for name, param in self.params.items()}
