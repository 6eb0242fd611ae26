"""Steps whose derivative cannot be read in full, or need not be: as `lax.scan` gives them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from seqjax import explain, scan

PARAMS = {"w": 0.3 * np.random.default_rng(0).normal(size=(4, 5)), "u": np.eye(5) / 2}
STATE = np.random.default_rng(1).normal(size=(3, 5))
XS = np.random.default_rng(2).normal(size=(6, 3, 4))


def grown(a):
    """Doubled until it is large: a loop that cannot be differentiated in reverse."""
    return lax.while_loop(lambda a: jnp.max(jnp.abs(a)) < 10, lambda a: 2 * a, a)


def halved_outside(h):
    """A function that JAX cannot look into."""
    return jax.pure_callback(lambda a: np.asarray(a) / 2, jax.ShapeDtypeStruct(h.shape, h.dtype), h)


def plain(p, h, x, extra=0.0):
    h = jnp.tanh(x @ p["w"] + h @ p["u"] + extra)
    return h, h


def loop_over_state(p, h, x):
    return plain(p, h, x, jnp.tanh(grown(h)))


def callback_in_y(p, h, x):
    h, y = plain(p, h, x)
    return h, halved_outside(y)


def loop_behind_stop_gradient(p, h, x):
    return plain(p, h, x, lax.stop_gradient(grown(h)))


def loop_over_x(p, h, x):
    return plain(p, h, x, jnp.tanh(grown(x))[..., :1])


def hoisted_loop_over_x(p, h, x):
    return plain(p, h, jnp.tanh(grown(x)))


def loop_in_unused_y(p, h, x):
    h, y = plain(p, h, x)
    return h, (y, grown(y))


def hoisted_loop_in_unused_y(p, h, x):
    h, y = plain(p, h, x)
    return h, (y, grown(x) @ p["w"])


def loop_behind_floor(p, h, x):
    return plain(p, h, x, jnp.floor(grown(h)))


def leaves(tree):
    return [np.asarray(a) for a in jax.tree.leaves(tree)]


def assert_equal(ours, theirs):
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def used(result):
    """The final state and the first of the outputs."""
    state, ys = result
    return jnp.sum(jnp.sin(state)) + jnp.sum(jax.tree.leaves(ys)[0] ** 2)


ARGUMENTS = {loop_over_x: (0, 1), hoisted_loop_over_x: (0, 1), hoisted_loop_in_unused_y: (0, 1, 2)}


@pytest.mark.parametrize("keep", ["gates", pytest.param("blocks", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "step",
    [
        loop_behind_stop_gradient,
        loop_over_x,
        hoisted_loop_over_x,
        loop_in_unused_y,
        hoisted_loop_in_unused_y,
        loop_behind_floor,
    ],
)
def test_gradients_that_lax_scan_gives(step, keep):
    arguments = ARGUMENTS.get(step, (0, 1, 2))
    with jax.enable_x64(True):

        def run(scanner):
            value_and_grad = jax.value_and_grad(lambda *a: used(scanner(*a)), arguments)
            return value_and_grad(PARAMS, STATE, XS), jax.jit(value_and_grad)(PARAMS, STATE, XS)

        ours = run(partial(scan, step, keep=keep))
        assert_equal(ours, run(lambda p, h, xs: lax.scan(partial(step, p), h, xs)))


@pytest.mark.parametrize("step", [loop_over_state, callback_in_y])
def test_values_need_no_derivative(step):
    with jax.enable_x64(True):
        ours = scan(step, PARAMS, STATE, XS)
        assert_equal(ours, lax.scan(partial(step, PARAMS), STATE, XS))


def test_what_has_no_gradient_says_so_as_lax_scan_does():
    def loss(p, scanner):
        return used(scanner(loop_over_state, p, STATE, XS))

    for scanner in scan, lambda f, p, h, xs: lax.scan(partial(f, p), h, xs):
        with (
            jax.enable_x64(True),
            pytest.raises(ValueError, match="Reverse-mode differentiation does not work"),
        ):
            jax.grad(loss)(PARAMS, scanner)


def test_under_vmap_and_second_derivatives():
    with jax.enable_x64(True):

        def row(scanner):
            def loss(u, x):
                return used(scanner({**PARAMS, "u": u}, STATE, x))

            square = lambda u, x: jnp.sum(jax.grad(loss)(u, x) ** 2)  # noqa: E731
            us = np.stack([PARAMS["u"], 2 * PARAMS["u"]])
            return jax.vmap(jax.grad(square), (0, None))(us, XS)

        step = loop_in_unused_y
        assert_equal(
            row(partial(scan, step)), row(lambda p, h, x: lax.scan(partial(step, p), h, x))
        )


def test_the_derivative_is_traced_only_where_it_is_asked_for():
    asked = []

    @jax.custom_vjp
    def noted(a):
        return a

    def forward(a):
        asked.append("derivative")
        return a, None

    noted.defvjp(forward, lambda _, ct: (ct,))

    def step(p, h, x):
        return plain(p, noted(h), x)

    with jax.enable_x64(True):
        scan(step, PARAMS, STATE, XS)
        assert not asked
        jax.grad(lambda p: used(scan(step, p, STATE, XS)))(PARAMS)
        assert asked


def test_explain_says_what_cannot_be_read():
    with jax.enable_x64(True):
        text = explain(loop_over_state, PARAMS, STATE, XS[0])
    assert "its derivative cannot be read" in text
    assert "that of lax.scan" in text
