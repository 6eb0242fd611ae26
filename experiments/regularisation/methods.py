"""The methods: each changes the cell, what goes into it and comes out, or the loss, by one strength."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import (
    candidate_dropout,
    lstm,
    naive_dropout,
    penalties,
    state_noise,
    variational_dropout,
    weight_drop,
    zoneout,
)
from seqjax.cells.layer_norm import lstm_layer_norm
from seqjax.layers.noise import drop_steps, drop_types, drop_units
from seqjax.types import Array, Cell

Drop = Callable[[Array, Array, Array], Array]  # (values [T, B, D], key, strength) -> values
Penalty = Callable[[Array], Array]  # of all outputs [T, B, H]


class Method(NamedTuple):
    """One way to regularise.

    Attributes:
      says: what it does, for the table.
      strengths: what is tried.
      cell: `(hidden_size, strength) -> cell`.
      drop: on the vectors of the tokens, and on what the head reads; None for nothing.
      words: drop whole types of tokens from a row.
      penalty: times the strength, added to the loss.
    """

    says: str
    strengths: tuple[float, ...]
    cell: Callable[[int, Array], Cell] = lambda size, strength: lstm(size)
    drop: Drop | None = None
    words: bool = False
    penalty: Penalty | None = None


RATES = (0.1, 0.25, 0.5)

METHODS = {
    "none": Method("nothing", (0.0,)),
    "vertical": Method(
        "input and output units, new at each step (Zaremba et al., 2014)", RATES, drop=drop_units
    ),
    "variational": Method(
        "input, output and h, the same at all steps (Gal and Ghahramani, 2016)",
        RATES,
        cell=lambda size, strength: variational_dropout(lstm(size), states=strength),
        drop=drop_steps,
    ),
    "naive": Method(
        "h, new at each step",
        RATES,
        cell=lambda size, strength: naive_dropout(lstm(size), strength),
    ),
    "variational_h": Method(
        "h alone, the same at all steps",
        RATES,
        cell=lambda size, strength: variational_dropout(lstm(size), states=strength),
    ),
    "candidate": Method(
        "the candidate g, new at each step (Semeniuta et al., 2016)",
        RATES,
        cell=lambda size, strength: candidate_dropout(lstm(size), strength),
    ),
    "zoneout": Method(
        "c keeps its value, and h at a tenth of the rate (Krueger et al., 2017)",
        RATES,
        cell=lambda size, strength: zoneout(lstm(size), {"c": strength, "h": strength / 10}),
    ),
    "weight_drop": Method(
        "recurrent weights, the same at all steps (Merity et al., 2018)",
        RATES,
        cell=lambda size, strength: weight_drop(lstm(size), strength),
    ),
    "embedding": Method("types of tokens, in a row (Gal and Ghahramani, 2016)", RATES, words=True),
    "state_noise": Method(
        "N(0, strength²) on h at each step (Jim et al., 1996)",
        (0.05, 0.1, 0.2),
        cell=lambda size, strength: state_noise(lstm(size), strength),
    ),
    "norm_stabiliser": Method(
        "strength (‖hₜ‖ - ‖hₜ₋₁‖)² (Krueger and Memisevic, 2016)",
        (0.1, 1.0, 10.0),
        penalty=penalties.norm_stabiliser,
    ),
    "activation": Method(
        "strength h² (AR: Merity et al., 2017)", (0.1, 1.0, 10.0), penalty=penalties.activation
    ),
    "temporal": Method(
        "strength (hₜ - hₜ₋₁)² (TAR: Merity et al., 2017)",
        (0.1, 1.0, 10.0),
        penalty=penalties.temporal_activation,
    ),
    "layer_norm": Method(
        "sums normalised over units (Ba et al., 2016)",
        (0.0,),
        cell=lambda size, strength: lstm_layer_norm(size),
    ),
}


def apply(method: Method, xs: Array, key: Array | None, strength: Array) -> Array:
    """What the method's dropout leaves of `xs [T, B, D]`; all of it without a key."""
    if key is None or method.drop is None:
        return xs
    return method.drop(xs, key, strength)


def embed(method: Method, table: Array, tokens: Array, key: Array | None, strength: Array) -> Array:
    """Vectors `[T, B, D]` of tokens `[B, T]`."""
    xs = jnp.swapaxes(table[tokens], 0, 1)
    if key is None:
        return xs
    word_key, unit_key = jax.random.split(key)
    if method.words:
        kept = drop_types(tokens, len(table), word_key, strength)
        xs = xs * kept.T[..., None]
    return apply(method, xs, unit_key, strength)
