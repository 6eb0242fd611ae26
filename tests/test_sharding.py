"""A batch over two devices gives what one device gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import CELLS, InputError, unroll
from seqjax.sharding import batch_mesh, replicate, split_batch
from tests.randomness import problem

LENGTHS = np.array([5, 0, 2, 3])


@pytest.mark.parametrize("name", CELLS)
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


def test_errors_name_the_numbers():
    with pytest.raises(InputError, match="--devices=3, but this machine shows 2 cpu"):
        batch_mesh(3)
    with pytest.raises(InputError, match=r"a batch of \[5\] cannot be split over 2 devices"):
        split_batch(np.ones((3, 5)), batch_mesh(2), 1)
