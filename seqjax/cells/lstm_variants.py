"""The LSTM with peepholes, and seven variants of it with one change each (Greff et al., 2017, "LSTM: A
Search Space Odyssey"; peepholes: Gers and Schmidhuber, 2000).

    iₜ = σ(Wᵢ xₜ + Uᵢ hₜ₋₁ + pᵢ ⊙ cₜ₋₁ + bᵢ)
    fₜ = σ(W_f xₜ + U_f hₜ₋₁ + p_f ⊙ cₜ₋₁ + b_f)
    gₜ = tanh(W_g xₜ + U_g hₜ₋₁ + b_g)
    cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ gₜ
    oₜ = σ(Wₒ xₜ + Uₒ hₜ₋₁ + pₒ ⊙ cₜ + bₒ)          the new cₜ
    hₜ = oₜ ⊙ tanh(cₜ)                yₜ = hₜ

    NIG   iₜ = 1              NIAF   gₜ without tanh
    NFG   fₜ = 1              NOAF   hₜ = oₜ ⊙ cₜ
    NOG   oₜ = 1              CIFG   fₜ = 1 - iₜ
    NP    no peepholes: `lstm`

The paper writes z for g, y for h and R for U. The eighth, with recurrence from gate to gate, has
another state: `lstm_fgr.py`.

Jozefowicz, Zaremba and Sutskever (2015) leave gates out of the LSTM without peepholes: their LSTM-i,
-f and -o are `ABLATIONS` below; their LSTM is `lstm` with forget bias 0, and LSTM-b with 1. As printed
it has oₜ = tanh(·), most likely a misprint for σ (their other odd-looking line, i = tanh(·), is this
g: it is multiplied by j = σ(·), this i); `lstm_tanh_output_gate` is that cell to the letter.

Parameters: w [D, G·H], u [H, G·H], b [G·H], the gates there are side by side in the order i, f, g, o;
p_i, p_f, p_o [H], for the gates that look at the cell. A part that a variant lacks has no parameters.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.lstm import LSTMGates, LSTMState
from seqjax.errors import InputError, check_positive
from seqjax.types import Array, Cell, Initializer, Params

GATES = ("i", "f", "g", "o")


@dataclasses.dataclass(frozen=True)
class Variant:
    """Which parts of the LSTM with peepholes a cell has.

    Raises:
      InputError: if one of two coupled gates is missing, or if a missing gate is to be a tanh.
    """

    input_gate: bool = True
    forget_gate: bool = True
    output_gate: bool = True
    input_activation: bool = True  # the tanh in g
    output_activation: bool = True  # the tanh of the cell
    peepholes: bool = True
    coupled: bool = False  # f = 1 - i, without parameters of its own
    tanh_output_gate: bool = False  # o = tanh(·) for σ(·)

    def __post_init__(self) -> None:
        if self.coupled and not (self.input_gate and self.forget_gate):
            raise InputError(
                f"coupled=True makes the forget gate from the input gate and needs both, got {self}."
            )
        if self.tanh_output_gate and not self.output_gate:
            raise InputError(f"tanh_output_gate=True needs an output gate, got {self}.")

    @property
    def gates(self) -> tuple[str, ...]:
        """The gates (and g) that have parameters, in their order."""
        has = (self.input_gate, self.forget_gate and not self.coupled, True, self.output_gate)
        return tuple(name for name, there in zip(GATES, has, strict=True) if there)


VARIANTS = {
    "lstm_peephole": Variant(),
    "lstm_nig": Variant(input_gate=False),
    "lstm_nfg": Variant(forget_gate=False),
    "lstm_nog": Variant(output_gate=False),
    "lstm_niaf": Variant(input_activation=False),
    "lstm_noaf": Variant(output_activation=False),
    "lstm_np": Variant(peepholes=False),
    "lstm_cifg": Variant(coupled=True),
}

ABLATIONS = {
    "lstm_no_input_gate": Variant(input_gate=False, peepholes=False),
    "lstm_no_forget_gate": Variant(forget_gate=False, peepholes=False),
    "lstm_no_output_gate": Variant(output_gate=False, peepholes=False),
    "lstm_tanh_output_gate": Variant(peepholes=False, tanh_output_gate=True),
}


def lstm_variant(
    hidden_size: int,
    variant: Variant = VARIANTS["lstm_peephole"],
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.forget_bias(1.0),
    peephole_init: Initializer = initializers.normal(0.1),
) -> Cell:
    """Builds a variant of the LSTM. One key draws the same numbers for the gates that two share.

    Args:
      hidden_size: H.
      variant: what it has.
      kernel_init: draws each gate's `[D, H]`.
      recurrent_init: draws each gate's `[H, H]`.
      bias_init: called with the shape `[4, H]`, rows i, f, g, o, of which those that are not there
        are left out.
      peephole_init: draws each gate's `[H]`.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)
    there = jnp.array([GATES.index(name) for name in variant.gates])

    def init(key: Array, input_size: int) -> Params:
        kernel_key, recurrent_key, bias_key = jax.random.split(key, 3)

        def draw(initializer: Initializer, key: Array, rows: int) -> Array:
            shape = (rows, 4 * hidden_size)
            whole = initializers.per_gate(initializer, 4)(key, shape, jnp.float32)
            return whole.reshape(rows, 4, hidden_size)[:, there].reshape(rows, -1)

        params = {
            "w": draw(kernel_init, kernel_key, input_size),
            "u": draw(recurrent_init, recurrent_key, hidden_size),
            "b": bias_init(bias_key, (4, hidden_size), jnp.float32)[there].reshape(-1),
        }
        for name in variant.gates if variant.peepholes else ():
            if name == "g":  # looks at nothing
                continue
            peephole_key = jax.random.fold_in(key, GATES.index(name))
            params[f"p_{name}"] = peephole_init(peephole_key, (hidden_size,), jnp.float32)
        return params

    def initial_state(batch_shape: tuple[int, ...] = ()) -> LSTMState:
        zeros = jnp.zeros((*batch_shape, hidden_size), jnp.float32)
        return LSTMState(h=zeros, c=zeros)

    def step(params: Params, state: LSTMState, x: Array) -> tuple[LSTMState, Array]:
        _, new_state = _gates_and_state(variant, params, state, x)
        return new_state, new_state.h

    return Cell(init, initial_state, step, hidden_size, partial(gates, variant))


DIFFERENCES = {
    "lstm_peephole": "with peepholes, V",
    "lstm_nig": "with peepholes and no input gate, NIG: iₜ = 1",
    "lstm_nfg": "with peepholes and no forget gate, NFG: fₜ = 1",
    "lstm_nog": "with peepholes and no output gate, NOG: oₜ = 1",
    "lstm_niaf": "with peepholes and no tanh on the input, NIAF",
    "lstm_noaf": "with peepholes and no tanh on the output, NOAF: hₜ = oₜ ⊙ cₜ",
    "lstm_np": "without peepholes, NP: `lstm`",
    "lstm_cifg": "with peepholes and coupled gates, CIFG: fₜ = 1 - iₜ",
    "lstm_no_input_gate": "of Jozefowicz et al. (2015) without an input gate, LSTM-i",
    "lstm_no_forget_gate": "of Jozefowicz et al. (2015) without a forget gate, LSTM-f",
    "lstm_no_output_gate": "of Jozefowicz et al. (2015) without an output gate, LSTM-o",
    "lstm_tanh_output_gate": "of Jozefowicz et al. (2015) as printed, oₜ = tanh(·)",
}


def named_variant(name: str) -> Callable[..., Cell]:
    """The factory of a variant, a function of that name."""
    factory = partial(lstm_variant, variant=(VARIANTS | ABLATIONS)[name])

    def make(hidden_size: int, **options: Any) -> Cell:
        return factory(hidden_size, **options)

    make.__name__ = make.__qualname__ = name
    signature = inspect.signature(factory)
    kept = [p for p in signature.parameters.values() if p.name != "variant"]
    make.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    make.__doc__ = (
        f"Builds the LSTM {DIFFERENCES[name]}.\n\n    Keyword arguments and their defaults are those of"
        " `lstm_variant`, the forget bias of 1 among them.\n    "
    )
    return make


def gates(variant: Variant, params: Params, state: LSTMState, x: Array) -> LSTMGates:
    """The gate activations of one step, each `[..., H]`; 1 where a gate is missing."""
    return _gates_and_state(variant, params, state, x)[0]


def _gates_and_state(
    variant: Variant, params: Params, state: LSTMState, x: Array
) -> tuple[LSTMGates, LSTMState]:
    z = x @ params["w"] + state.h @ params["u"] + params["b"]
    of = dict(zip(variant.gates, jnp.split(z, len(variant.gates), axis=-1), strict=True))
    ones = jnp.ones_like(of["g"])

    def gate(name: str, c: Array, squash: Callable[[Array], Array] = jax.nn.sigmoid) -> Array:
        if name not in of:
            return ones
        return squash(of[name] + params[f"p_{name}"] * c if variant.peepholes else of[name])

    i = gate("i", state.c)
    f = 1 - i if variant.coupled else gate("f", state.c)
    g = jnp.tanh(of["g"]) if variant.input_activation else of["g"]
    c = f * state.c + i * g
    o = gate("o", c, jnp.tanh if variant.tanh_output_gate else jax.nn.sigmoid)
    h = o * (jnp.tanh(c) if variant.output_activation else c)
    return LSTMGates(i, f, g, o), LSTMState(h, c)
