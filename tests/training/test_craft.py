"""Lazy rows, averaged parameters, rates of groups."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax import InputError, RunError
from seqjax.runs.checkpoint import Checkpoints
from seqjax.training import averaging
from seqjax.training.groups import scale_groups
from seqjax.training.lazy import lazy_rows
from seqjax.training.optimizers import make_optimizer
from seqjax.training.step import init_train_state, make_train_step

V, D = 6, 3


def updates(optimizer, params, all_grads):
    state = optimizer.init(params)
    for grads in all_grads:
        changes, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, changes)
    return params, state


def embedding_grads(touched, seed):
    grad = np.zeros((V, D), np.float32)
    grad[touched] = np.random.default_rng(seed).normal(size=(len(touched), D))
    return {"embedding": jnp.array(grad), "bias": jnp.ones(D)}


PARAMS = {"embedding": jnp.ones((V, D)), "bias": jnp.zeros(D)}
GRADS = [embedding_grads([0, 2, 5], 1), embedding_grads([2, 3], 2), embedding_grads([3], 3)]


def test_lazy_adam_leaves_rows_that_no_batch_touched():
    params, state = updates(lazy_rows(optax.adam(0.1)), PARAMS, GRADS)
    np.testing.assert_array_equal(params["embedding"][jnp.array([1, 4])], 1)
    once, first = updates(lazy_rows(optax.adam(0.1)), PARAMS, GRADS[:1])
    for row in (0, 5):
        np.testing.assert_array_equal(params["embedding"][row], once["embedding"][row])
        for moment in ("mu", "nu"):
            a, b = (getattr(s[0], moment)["embedding"][row] for s in (state, first))
            np.testing.assert_array_equal(a, b)
    dense, _ = updates(optax.adam(0.1), PARAMS, GRADS)
    assert np.any(dense["embedding"][0] != once["embedding"][0])  # what laziness is for
    np.testing.assert_array_equal(dense["bias"], params["bias"])


def test_lazy_adam_is_adam_where_all_rows_are_touched():
    grads = [embedding_grads(range(V), seed) for seed in range(4)]
    lazy, dense = (
        updates(o, PARAMS, grads)[0] for o in (lazy_rows(optax.adam(0.1)), optax.adam(0.1))
    )
    np.testing.assert_array_equal(lazy["embedding"], dense["embedding"])


def test_a_single_matrix_is_taken_as_well():
    grads = [g["embedding"] for g in GRADS]
    params, _ = updates(lazy_rows(optax.adam(0.1)), PARAMS["embedding"], grads)
    both, _ = updates(lazy_rows(optax.adam(0.1)), PARAMS, GRADS)
    np.testing.assert_allclose(params, both["embedding"], rtol=1e-6)


def test_the_mean_is_of_the_parameters_since_the_beginning():
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), averaging.averaged(optax.sgd(0.1)))
    params, state, seen = PARAMS, optimizer.init(PARAMS), []
    for number, grads in enumerate(GRADS * 2):
        if number == 2:
            np.testing.assert_array_equal(
                averaging.mean_of(state)["embedding"], params["embedding"]
            )
            state = averaging.begin(state)
        changes, state = jax.jit(optimizer.update)(grads, state, params)
        params = optax.apply_updates(params, changes)
        seen.append(params)
    plain, _ = updates(
        optax.chain(optax.clip_by_global_norm(10.0), optax.sgd(0.1)), PARAMS, GRADS * 2
    )
    np.testing.assert_allclose(params["embedding"], plain["embedding"], rtol=1e-6)
    mean = np.mean([p["embedding"] for p in seen[2:]], axis=0)
    np.testing.assert_allclose(averaging.mean_of(state)["embedding"], mean, rtol=1e-5)


def test_averaging_begins_when_validation_has_not_improved():
    losses = [5.0, 4.0, 3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6]
    begins = [averaging.should_begin(losses[:n], patience=5) for n in range(1, 10)]
    # 3.0 is more than five before 3.6, and just five before 3.5
    assert begins == [False] * 8 + [True]
    assert not averaging.should_begin([5.0, 4.0, 3.0, 2.0], patience=2)


def test_an_optimizer_without_a_mean_says_so():
    with pytest.raises(RunError, match="the optimizer keeps no mean"):
        averaging.mean_of(optax.sgd(0.1).init(PARAMS))


def test_groups_have_rates_of_their_own():
    params = {"layers": {"0": jnp.zeros(2), "01": jnp.zeros(2)}, "head": jnp.zeros(2)}
    grads = jax.tree.map(jnp.ones_like, params)
    optimizer = optax.chain(optax.sgd(1.0), scale_groups({"layers": 0.5, "layers.0": 0}))
    new, _ = updates(optimizer, params, [grads])
    np.testing.assert_array_equal(new["layers"]["0"], 0)
    np.testing.assert_array_equal(new["layers"]["01"], -0.5)
    np.testing.assert_array_equal(new["head"], -1)


def test_a_group_that_is_none_is_refused():
    with pytest.raises(InputError, match="begins with 'heads'; there are bias, embedding"):
        scale_groups({"heads": 2.0}).init(PARAMS)
    with pytest.raises(InputError, match="the factor of bias must be a finite number"):
        scale_groups({"bias": -1.0})


def test_gradient_noise_is_optaxs():
    """Neelakantan et al. (2015): N(0, eta / (1 + t)^gamma) is added to every gradient."""
    optimizer = make_optimizer("sgd", 1.0, gradient_noise=0.3, clip_norm=1e-9)
    grads = {"w": jnp.zeros((200, 200))}
    state = optimizer.init(grads)
    for t in range(3):
        noisy, state = optimizer.update(grads, state, grads)
        np.testing.assert_allclose(np.var(noisy["w"]), 0.3 / (1 + t) ** 0.55, rtol=0.2)


def test_a_run_with_gradient_noise_goes_on_from_a_checkpoint(tmp_path):
    """... and noise follows from seed and update: other seeds have other noise."""
    optimizers = [make_optimizer("sgd", 1.0, gradient_noise=0.3, seed=seed) for seed in (0, 1)]
    states = [init_train_state({"w": jnp.zeros(3)}, optimizer) for optimizer in optimizers]
    step = make_train_step(lambda p, c, b, k: (jnp.sum(p["w"]), ((), {})), optimizers[0], 0)
    state, *_ = step(states[0], ())
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(state, {})
    again = checkpoints.restore(states[0])
    checkpoints.close()
    for a, b in zip(step(state, ())[0], step(again, ())[0], strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)
    first, other = (
        optimizer.update({"w": jnp.zeros(3)}, state.opt_state)[0]["w"]
        for optimizer, state in zip(optimizers, states, strict=True)
    )
    assert not np.allclose(first, other)


def test_a_mean_of_half_precision_goes_on():
    optimizer = averaging.averaged(optax.sgd(1.0))
    params = {"w": jnp.zeros((), jnp.bfloat16)}
    state = averaging.begin(optimizer.init(params))

    def update(i, carry):
        params, state = carry
        grads = {"w": jnp.where(i == 1000, -1.0, 0.0).astype(jnp.bfloat16)}
        changes, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, changes), state

    params, state = jax.lax.fori_loop(0, 2000, update, (params, state))
    assert float(params["w"]) == 1
    np.testing.assert_allclose(averaging.mean_of(state)["w"], 0.5, rtol=1e-4)
