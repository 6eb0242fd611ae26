"""Optimizers and learning-rate schedules by name, all of them Optax's but for the noise."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from seqjax.errors import (
    InputError,
    check_fraction,
    check_not_negative,
    check_positive,
    check_rate,
)
from seqjax.types import Array, Params

OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")
SCHEDULES = ("constant", "step", "cosine")


def make_schedule(
    name: str,
    learning_rate: float,
    *,
    num_steps: int,
    steps_per_epoch: int = 1,
    decay_after: int = 0,
    decay_factor: float = 1.0,
    warmup_steps: int = 0,
) -> optax.Schedule:
    """Builds `schedule(step) -> learning rate`.

    Args:
      name: "constant"; "step", which multiplies the rate by `decay_factor` at the start of
        every epoch after the first `decay_after`; "cosine", which falls to zero at `num_steps`.
      learning_rate: the rate after warm-up.
      num_steps: length of the run, in updates, for "cosine".
      steps_per_epoch: updates per epoch, for "step".
      decay_after: epochs at the full rate, for "step".
      decay_factor: for "step".
      warmup_steps: updates over which the rate rises linearly from zero; 0 for none.

    Raises:
      InputError: for an unknown name or a number out of range.
    """
    check_rate("learning_rate", learning_rate)
    if warmup_steps < 0 or (warmup_steps and warmup_steps >= num_steps):
        raise InputError(
            f"warmup_steps must lie between 0 and the {num_steps} steps of the run,"
            f" got {warmup_steps}."
        )
    schedule: optax.Schedule
    if name == "constant":
        schedule = optax.constant_schedule(learning_rate)
    elif name == "step":
        check_rate("decay_factor", decay_factor)
        check_positive("steps_per_epoch", steps_per_epoch)
        if decay_after < 0:
            raise InputError(f"decay_after must be at least 0, got {decay_after}.")

        def schedule(step: ArrayLike) -> ArrayLike:
            # The warm-up shifts the steps below; epochs are counted from the very start.
            epoch = (jnp.asarray(step) + warmup_steps) // steps_per_epoch
            return learning_rate * decay_factor ** jnp.maximum(0, epoch + 1 - decay_after)

    elif name == "cosine":
        check_positive("num_steps", num_steps)
        schedule = optax.cosine_decay_schedule(learning_rate, num_steps - warmup_steps)
    else:
        raise InputError(f"unknown schedule {name!r}; choose one of {', '.join(SCHEDULES)}.")
    if not warmup_steps:
        return schedule
    warmup = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    return optax.join_schedules([warmup, schedule], [warmup_steps])


def make_optimizer(
    name: str,
    learning_rate: float | optax.Schedule,
    *,
    momentum: float = 0.9,
    rms_decay: float = 0.95,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    clip_value: float = 0.0,
    gradient_noise: float = 0.0,
    seed: int | Array = 0,
) -> optax.GradientTransformation:
    """Builds an Optax transformation: clip by value, clip by global norm, noise, then the optimizer.

    Args:
      name: "sgd", "momentum", "nesterov", "rmsprop" (without centring, as char-rnn), "adam" or
        "adamw".
      learning_rate: a number or a schedule.
      momentum: for "momentum" and "nesterov".
      rms_decay: for "rmsprop".
      weight_decay: for "adamw".
      clip_norm: gradients of a larger global norm are scaled down to it; 0 for no clipping
        (Pascanu, Mikolov and Bengio, 2013).
      clip_value: gradient entries are clipped to [-clip_value, clip_value]; 0 for no clipping.
      gradient_noise: η; N(0, η / (1 + t)^0.55) is added to every entry of gradient t, clipped before
        (Neelakantan et al., 2015, eq. 1, whose η are 0.01, 0.3 and 1); 0 for none.
      seed: of that noise: networks that are compared should have different ones.

    Raises:
      InputError: for an unknown name or a number out of range.
    """
    if not callable(learning_rate):
        check_rate("learning_rate", learning_rate)
    check_fraction("momentum", momentum)
    check_fraction("rms_decay", rms_decay)
    check_not_negative("gradient_noise", gradient_noise)
    for flag, value in {"clip_norm": clip_norm, "clip_value": clip_value}.items():
        if not 0 <= value < float("inf"):
            raise InputError(f"{flag} must be 0 (no clipping) or a number above, got {value}.")
    if not 0 <= weight_decay < float("inf"):
        raise InputError(f"weight_decay must be a finite number of at least 0, got {weight_decay}.")
    if weight_decay and name != "adamw":
        raise InputError(f"weight_decay needs optimizer 'adamw', got {name!r}.")
    match name:
        case "sgd":
            optimizer = optax.sgd(learning_rate)
        case "momentum" | "nesterov":
            optimizer = optax.sgd(learning_rate, momentum, nesterov=name == "nesterov")
        case "rmsprop":
            optimizer = optax.rmsprop(learning_rate, rms_decay, eps=1e-8, eps_in_sqrt=False)
        case "adam":
            optimizer = optax.adam(learning_rate)
        case "adamw":
            optimizer = optax.adamw(learning_rate, weight_decay=weight_decay)
        case _:
            raise InputError(f"unknown optimizer {name!r}; choose one of {', '.join(OPTIMIZERS)}.")
    before = []
    if clip_value:
        before.append(optax.clip(clip_value))
    if clip_norm:
        before.append(optax.clip_by_global_norm(clip_norm))
    if gradient_noise:
        before.append(_noise(gradient_noise, seed))
    return optax.chain(*before, optimizer)


class _NoiseState(NamedTuple):
    done: Array  # [] int32, gradients that had noise added


def _noise(eta: float, seed: int | Array) -> optax.GradientTransformation:
    """As `optax.add_noise` with γ = 0.55, but the key of a gradient follows from its number.

    Optax keeps a key in the state, which a checkpoint of plain arrays cannot hold.
    """

    def init(params: Params) -> _NoiseState:
        del params
        return _NoiseState(jnp.zeros((), jnp.int32))

    def update(grads: Any, state: _NoiseState, params: Any = None) -> tuple[Any, _NoiseState]:
        del params
        leaves, tree = jax.tree.flatten(grads)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), state.done), len(leaves))
        stddev = jnp.sqrt(eta / (1.0 + state.done) ** 0.55)
        noisy = [
            g + stddev.astype(g.dtype) * jax.random.normal(key, g.shape, g.dtype)
            for g, key in zip(leaves, keys, strict=True)
        ]
        return jax.tree.unflatten(tree, noisy), _NoiseState(state.done + 1)

    return optax.GradientTransformation(init, update)
