"""The latch of `experiments.latch`: one unit, two classes, and inputs that are learnt as well.

    xₜ = tanh(w xₜ₋₁ + hₜᵏ)        x₀ = 0

(Bengio, Simard and Frasconi, 1994, section II.) For t <= L the inputs hₜᵏ of class k are free
parameters; after that they are Gaussian noise. At the end, x_T should be +0.8 for the first class and
-0.8 for the second. Arrays of a training set are time-major: noise `[T, 2, n]`, n sequences a class.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from seqjax import gru, lstm, rnn
from seqjax.init import forget_bias
from seqjax.recurrence.unroll import unroll
from seqjax.types import Array, Cell, Params

TARGETS = np.array([[0.8], [-0.8]], np.float32)  # [2, 1]
FREE_STEPS = 3  # L
FRESH = 50  # sequences of each class, never trained on, for the error of one trained unit


class Unit(NamedTuple):
    """A unit that is trained to latch.

    Attributes:
      init: `(key, w0) -> weights`.
      output: `(weights, xs [T, ...]) -> x [T, ...]`, the unit's output at every step.
    """

    init: Callable[[Array, Any], Params]
    output: Callable[[Params, Array], Array]


class Case(NamedTuple):
    """A protocol: what is trained, on how many sequences, and by which rule."""

    unit: str  # a name in UNITS
    weights_trained: bool  # if not, the free inputs are trained alone
    per_class: int  # training sequences of each class
    learning_rate: float
    adam: bool = False  # if not, plain gradient descent


def _paper() -> Unit:
    """The paper's unit: its one weight is w, and its state is its output."""
    cell = rnn(1)

    def output(weights: Params, xs: Array) -> Array:
        params = {"w": jnp.ones((1, 1)), "u": jnp.reshape(weights, (1, 1)), "b": jnp.zeros(1)}
        return unroll(cell, params, xs[..., None])[1][..., 0]

    return Unit(lambda key, w0: jnp.asarray(w0, jnp.float32), output)


def _read(cell: Cell, recurrent: bool = False) -> Unit:
    """A cell of one unit with a readout v·h + c, all trained; if `recurrent`, u starts as w0."""

    def init(key: Array, w0: Any) -> Params:
        params = cell.init(key, 1)
        if recurrent:
            params["u"] = jnp.full((1, 1), w0)
        return {"cell": params, "v": jnp.ones(()), "c": jnp.zeros(())}

    def output(weights: Params, xs: Array) -> Array:
        _, ys = unroll(cell, weights["cell"], xs[..., None])
        return weights["v"] * ys[..., 0] + weights["c"]

    return Unit(init, output)


OPEN = forget_bias(3.0)  # opens the gate that keeps the state: f in the LSTM, z in the GRU
UNITS = {
    "paper": _paper(),
    "tanh": _read(rnn(1), recurrent=True),
    "lstm": _read(lstm(1)),
    "lstm, forget bias 3": _read(lstm(1, bias_init=OPEN)),
    "gru": _read(gru(1)),
    "gru, update bias 3": _read(gru(1, bias_init=OPEN)),
}


def with_inputs(h: Array, noise: Array) -> Array:
    """The sequences: `noise [T, 2, n]` whose first L steps are the free inputs `h [2, L]`."""
    classes, free = h.shape
    head = jnp.broadcast_to(h.T[:, :, None], (free, classes, noise.shape[2]))
    return jnp.concatenate([head, noise[free:]])


def last_output(unit: Unit, params: Params, noise: Array, length: Any) -> Array:
    """x_T `[2, n]`, T = `length`. Later steps have no influence: the unit is causal."""
    return unit.output(params["unit"], with_inputs(params["h"], noise))[length - 1]


def is_right(outputs: Array) -> Array:
    """Whether the sign of x_T is that of its class; an output of exactly 0 is wrong."""
    return outputs * TARGETS > 0


def train(
    unit: Unit, case: Case, params: Params, noise: Array, length: Any, updates: int
) -> Params:
    """Batch gradient descent on ½(x_T - d)², averaged over the training set."""
    optimizer = (optax.adam if case.adam else optax.sgd)(case.learning_rate)

    def loss_fn(params: Params) -> Array:
        return 0.5 * jnp.mean((last_output(unit, params, noise, length) - TARGETS) ** 2)

    def update(carry: tuple, _: None) -> tuple[tuple, None]:
        params, opt_state = carry
        grads = jax.grad(loss_fn)(params)
        if not case.weights_trained:
            grads = grads | {"unit": jax.tree.map(jnp.zeros_like, grads["unit"])}
        steps, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, steps), opt_state), None

    (params, _), _ = lax.scan(update, (params, optimizer.init(params)), length=updates)
    return params


def input_gradient(unit: Unit, params: Params, length: Any, max_length: int) -> Array:
    """|∂x_T/∂h₁| without noise, averaged over the two classes."""
    quiet = jnp.zeros((max_length, 2, 1))

    def total(h: Array) -> Array:
        return last_output(unit, params | {"h": h}, quiet, length).sum()

    return jnp.abs(jax.grad(total)(params["h"])[:, 0]).mean()


def trial(
    case: Case, key: Array, length: Any, w0: Any, std: Any, *, updates: int, max_length: int
) -> dict[str, Array]:
    """Makes, trains and tests one network: a pure function of its key.

    Args:
      case: the protocol.
      key: random key of the initial parameters and of all noise.
      length: T, at most max_length; may be traced, so that one program serves every T.
      w0: the recurrent weight before training.
      std: standard deviation of the noise.
      updates: number of updates of gradient descent.
      max_length: length of the arrays.
    """
    unit = UNITS[case.unit]
    weight_key, input_key, noise_key = jax.random.split(key, 3)
    start = {
        "unit": unit.init(weight_key, w0),
        "h": jax.random.uniform(input_key, (2, FREE_STEPS), minval=-0.1, maxval=0.1),
    }
    # Training and test noise is drawn at once, and all tests share one pass: the compiler would
    # otherwise spend most of its time on random numbers.
    noise = std * jax.random.normal(noise_key, (max_length, 2, case.per_class + FRESH))
    end = train(unit, case, start, noise[:, :, : case.per_class], length, updates)
    with_quiet = jnp.pad(noise, ((0, 0), (0, 0), (0, 1)))
    right = is_right(last_output(unit, end, with_quiet, length))
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), start, end)
    gradients = jax.vmap(lambda params: input_gradient(unit, params, length, max_length))(both)
    return {
        "success": right[:, : case.per_class].all(),
        "latches": right[:, -1].all(),
        "test_error": 1 - right[:, case.per_class : -1].mean(),
        "gradient_start": gradients[0],
        "gradient_end": gradients[1],
        "w": end["unit"] if case.unit == "paper" else jnp.full((), jnp.nan),
    }


def by_hand(
    case: Case, key: Array, length: Any, w: Any, std: Any, *, max_length: int
) -> dict[str, Array]:
    """Whether an untrained unit succeeds whose inputs are ±1, which saturate it at once."""
    params = {"unit": jnp.asarray(w), "h": jnp.sign(TARGETS) * jnp.ones((2, FREE_STEPS))}
    noise = std * jax.random.normal(key, (max_length, 2, case.per_class))
    return {"success": is_right(last_output(UNITS["paper"], params, noise, length)).all()}


def fixed_point(w: float) -> float:
    """The x* >= 0 with x* = tanh(w x*), at which the unit latches without input; 0 if w <= 1."""
    x = 1.0 if w > 1 else 0.0
    for _ in range(10_000):
        x = math.tanh(w * x)
    return x


def flip_input(w: float) -> float:
    """h*, the smallest constant input that flips a latched unit with w > 1.

    At h* the attractor and the unstable point meet, where w(1 - x²) = 1 at x = √(1 - 1/w):
    h* = w x - artanh x.
    """
    x = math.sqrt(1 - 1 / w)
    return w * x - math.atanh(x)
