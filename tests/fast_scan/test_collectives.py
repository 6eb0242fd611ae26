"""Steps that speak of a named axis: sums over it, means, a device's own number."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from seqjax import scan

RNG = np.random.default_rng(0)
PARAMS = {"w": 0.4 * RNG.normal(size=(4, 5)), "u": 0.4 * RNG.normal(size=(5, 5))}
STATE, XS = RNG.normal(size=(2, 3, 5)), RNG.normal(size=(2, 6, 3, 4))  # an axis of 2 first


def step(p, h, x):
    h = h + 0.1 * lax.axis_index("rows") - lax.pmean(h, "rows")
    z = x @ p["w"] + lax.psum(jnp.sin(x), "rows") @ p["w"] + h @ p["u"]
    h = jnp.tanh(z) + lax.psum(jnp.tanh(h @ p["u"]), "rows")
    return h, lax.pmax(lax.stop_gradient(h), "rows") + h


def loss(scanner, params, state, xs):
    state, ys = scanner(params, state, xs)
    return jnp.sum(jnp.sin(state)) + jnp.sum(ys**2)


def by_vmap(scanner, params, state, xs):
    one = partial(loss, scanner)
    outside = lambda *a: jnp.sum(jax.vmap(one, (None, 0, 0), axis_name="rows")(*a))  # noqa: E731
    inside = jax.vmap(jax.grad(one, (0, 1, 2)), (None, 0, 0), axis_name="rows")
    return jax.value_and_grad(outside, (0, 1, 2))(params, state, xs), inside(params, state, xs)


def by_shard_map(scanner, params, state, xs):
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    own = PartitionSpec("rows")

    def one(params, state, xs):
        ct = jax.grad(partial(loss, scanner), (0, 1, 2))(params, state[0], xs[0])
        return jax.tree.map(lambda a: a[None], ct)

    mapped = jax.shard_map(
        one, mesh=mesh, in_specs=(PartitionSpec(), own, own), out_specs=own, check_vma=False
    )
    return jax.jit(mapped)(params, state, xs)


@pytest.mark.parametrize("mapped", [by_vmap, by_shard_map])
@pytest.mark.parametrize("forward_mode", [False, True])
def test_collectives_are_those_of_lax_scan(mapped, forward_mode):
    with jax.enable_x64(True):
        ours = mapped(partial(scan, step, forward_mode=forward_mode), PARAMS, STATE, XS)
        theirs = mapped(lambda p, h, x: lax.scan(partial(step, p), h, x), PARAMS, STATE, XS)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
