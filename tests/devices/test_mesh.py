"""A batch over two devices gives what one device gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from seqjax import CELLS, InputError, lstm, unroll, variational_dropout
from seqjax.devices.mesh import (
    AXIS,
    batch_mesh,
    over_batch,
    replicate,
    split_batch,
    use_cpu_devices,
)
from tests.support.randomness import problem
from tests.support.tiers import long_only, some_cells

LENGTHS = np.array([5, 0, 2, 3])


@pytest.mark.parametrize("name", some_cells())
def test_two_devices_equal_one(name):
    cell = CELLS[name](3)
    params, state, xs = problem(cell, batch=(4,))

    @jax.jit
    def run(params, state, xs, lengths):
        def loss(params, state, xs):
            final_state, ys = unroll(cell, params, xs, state, lengths=lengths)
            return jnp.mean(ys**2), (final_state, ys)

        return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(params, state, xs)

    mesh = batch_mesh(2)
    two = run(
        replicate(params, mesh),
        split_batch(state, mesh, 0),
        split_batch(xs, mesh, 1),
        split_batch(LENGTHS, mesh, 0),
    )
    one = run(params, state, xs, LENGTHS)
    for a, b in zip(jax.tree.leaves(two), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    (_, (_, ys)), grads = two
    assert len(ys.sharding.device_set) == 2
    assert not ys.sharding.is_fully_replicated
    assert grads[0]["w"].sharding.is_fully_replicated


def value_and_grad(layer, *args):
    def loss(params, state, xs):
        state, ys = layer(params, state, xs)
        return jnp.sum(jnp.sin(ys)) + sum(jnp.sum(s) for s in jax.tree.leaves(state)), ys

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(*args)


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.parametrize("name", ["lstm", *map(long_only, ("gru", "mut1", "lstm_peephole"))])
def test_a_program_of_each_devices_own_equals_one_device(name, block):
    cell, mesh = CELLS[name](3), batch_mesh(2)
    params, state, xs = problem(cell, batch=(4,))
    layer = lambda params, state, xs: unroll(cell, params, xs, state, block=block)  # noqa: E731
    placed = replicate(params, mesh), split_batch(state, mesh, 0), split_batch(xs, mesh, 1)
    two = value_and_grad(over_batch(layer, mesh), *placed)
    one = value_and_grad(layer, params, state, xs)
    for a, b in zip(jax.tree.leaves(two), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert not two[0][1].sharding.is_fully_replicated
    assert two[1][0]["u"].sharding.is_fully_replicated


@pytest.mark.parametrize("block", [None, 2])
def test_a_program_of_each_devices_own_takes_lengths(block):
    cell, mesh = CELLS["lstm"](3), batch_mesh(2)
    params, state, xs = problem(cell, batch=(4,))

    def layer(params, state, xs, lengths):
        return unroll(cell, params, xs, state, lengths=lengths, block=block)

    def grad(layer):
        return value_and_grad(lambda *args: layer(*args, LENGTHS), params, state, xs)

    for a, b in zip(
        *map(jax.tree.leaves, map(grad, (over_batch(layer, mesh), layer))), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_devices_meet_once_and_not_in_the_loops():
    cell, mesh = CELLS["lstm"](3), batch_mesh(2)
    params, state, xs = problem(cell, batch=(4,))
    layer = lambda params, state, xs: unroll(cell, params, xs, state, block=2)  # noqa: E731
    loss = lambda *args: jnp.sum(over_batch(layer, mesh)(*args)[1])  # noqa: E731
    text = jax.jit(jax.grad(loss)).lower(params, state, xs).compile().as_text()
    computations = [part for part in text.split("\n\n") if " all-reduce(" in part]
    assert len(computations) == 1
    assert "ENTRY" in computations[0]


@pytest.mark.parametrize("block", [None, 2])
def test_types_that_tell_devices_take_the_plain_scan(block):
    """Explicit mesh axes, and shard_map that checks what varies: as lax.scan takes them."""
    cell = CELLS["lstm"](3)
    params, state, xs = problem(cell, batch=(4,))
    layer = lambda params, state, xs: unroll(cell, params, xs, state, block=block)  # noqa: E731
    one = value_and_grad(layer, params, state, xs)
    assert "custom_vjp" in str(jax.make_jaxpr(layer)(params, state, xs))
    mesh = jax.make_mesh((2,), (AXIS,), (AxisType.Explicit,))
    placed = replicate(params, mesh), split_batch(state, mesh, 0), split_batch(xs, mesh, 1)
    with jax.set_mesh(mesh):
        explicit = value_and_grad(layer, *placed)
        assert "custom_vjp" not in str(jax.make_jaxpr(layer)(*placed))
    rows, steps = PartitionSpec(AXIS), PartitionSpec(None, AXIS)
    checked = jax.shard_map(
        layer,
        mesh=batch_mesh(2),
        in_specs=(PartitionSpec(), rows, steps),
        out_specs=(rows, steps),
    )
    assert "custom_vjp" not in str(jax.make_jaxpr(checked)(params, state, xs))
    for two in explicit, value_and_grad(checked, params, state, xs):
        for a, b in zip(jax.tree.leaves(two), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_errors_name_the_numbers():
    with pytest.raises(InputError, match="devices=3, but this machine shows 2 cpu"):
        batch_mesh(3)
    with pytest.raises(InputError, match=r"a batch of \[5\] cannot be split over 2 devices"):
        split_batch(np.ones((3, 5)), batch_mesh(2), 1)
    cell = CELLS["lstm"](3)
    params, state, xs = problem(cell, batch=(5,))
    layer = over_batch(lambda params, state, xs: unroll(cell, params, xs, state), batch_mesh(2))
    with pytest.raises(InputError, match=r"a batch of \[5\] cannot be split over 2 devices"):
        layer(params, state, xs)
    counted = over_batch(lambda params, state, xs: (state, xs), batch_mesh(2))
    with pytest.raises(InputError, match=r"axis 0 of every array is the batch, got .* \(\)"):
        counted(params, (state, np.int32(0)), xs[:, :4])


@pytest.mark.parametrize("count", [257, 100_000, 10**30])
def test_a_machine_is_not_asked_for_more_devices_than_there_are_anywhere(count):
    for ask in (use_cpu_devices, batch_mesh):
        with pytest.raises(InputError, match=r"^devices must be at most 256, got (257|1000*)\.$"):
            ask(count)


def test_a_layer_over_the_batch_runs_outside_of_jit_too():
    cell = lstm(4)
    layer = over_batch(lambda p, s, xs: unroll(cell, p, xs, s), batch_mesh(2))
    params = cell.init(jax.random.key(0), 3)
    xs, state = jax.random.normal(jax.random.key(1), (5, 4, 3)), cell.initial_state((4,))
    np.testing.assert_allclose(layer(params, state, xs)[1], unroll(cell, params, xs)[1], rtol=1e-6)


def test_each_device_may_have_masks_of_its_own():
    cell = variational_dropout(lstm(6), states=0.5)

    def own_key(p, s, xs):
        return unroll(
            cell, p, xs, s, key=jax.random.fold_in(jax.random.key(0), jax.lax.axis_index(AXIS))
        )

    params = cell.init(jax.random.key(0), 3)
    xs, state = jnp.ones((5, 4, 3)), cell.initial_state((4,))
    ys = over_batch(own_key, batch_mesh(2))(params, state, xs)[1][-1]
    assert len({row.tobytes() for row in np.asarray(ys)}) == 4
