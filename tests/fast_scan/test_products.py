"""Products with large weights are turned round: the same numbers, by the faster program."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from seqjax import lstm, scan
from seqjax.cells import CELLS
from seqjax.fast_scan import loops, products
from seqjax.fast_scan.products import sum_of_outer_products
from tests.support.tiers import long_only


@pytest.fixture
def turn_all(monkeypatch):
    """Small weights, few steps and any number of rows count as what pays."""
    monkeypatch.setattr(products, "LARGE", 1)
    monkeypatch.setattr(products, "ROWS", 1)
    monkeypatch.setattr(loops, "TURN_STEPS", 1)


def inputs(cell, rng, batch=(2, 3), steps=5, size=4):
    """Random parameters, biases and state too, in float64."""

    def draw(tree):
        floats = lambda a: jnp.issubdtype(a.dtype, jnp.inexact)  # noqa: E731
        return jax.tree.map(
            lambda a: jnp.asarray(rng.normal(size=a.shape)) if floats(a) else a, tree
        )

    params = draw(cell.init(jax.random.key(0), size))
    return (
        params,
        draw(cell.initial_state(batch)),
        jnp.asarray(rng.normal(size=(steps, *batch, size))),
    )


def value_and_grad(unroll, weights):
    def loss(params, state, xs):
        state, ys = unroll(params, state, xs)
        return jnp.sum(ys * weights) + sum(
            jnp.sum(leaf)
            for leaf in jax.tree.leaves(state)
            if jnp.issubdtype(leaf.dtype, jnp.inexact)
        )

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), allow_int=True))


def counted(monkeypatch):
    """How often a product is turned, in a list of one."""
    count, original = [0], products.turned_product

    def turned_product(*args, **kwargs):
        count[0] += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(loops, "turned_product", turned_product)
    monkeypatch.setattr("seqjax.fast_scan.backward.turned_product", turned_product)
    return count


@pytest.mark.parametrize("keep", ["gates", long_only("products"), "blocks"])
@pytest.mark.parametrize(
    "name", ["lstm", long_only("gru"), "gru_reset_before", long_only("lstm_fgr"), long_only("mut2")]
)
def test_gradients_are_those_of_the_plain_scan(name, keep, turn_all, monkeypatch):
    count = counted(monkeypatch)
    cell, rng = CELLS[name](3), np.random.default_rng(0)
    with jax.enable_x64(True):
        params, state, xs = inputs(cell, rng)
        weights = jnp.asarray(rng.normal(size=(5, 2, 3, cell.output_size)))
        ours = partial(scan, cell.step, keep=keep)
        plain = lambda p, s, x: lax.scan(partial(cell.step, p), s, x)  # noqa: E731
        found = value_and_grad(ours, weights)(params, state, xs)
        assert count[0] >= 2, "nothing was turned"
        expected = value_and_grad(plain, weights)(params, state, xs)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12), found, expected)
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12),
            jax.jit(ours)(params, state, xs),
            plain(params, state, xs),
        )


def test_a_population_of_weights_is_turned(turn_all, monkeypatch):
    count = counted(monkeypatch)
    cell, rng = lstm(3), np.random.default_rng(1)
    with jax.enable_x64(True):
        members = [inputs(cell, rng) for _ in range(4)]
        params, state, xs = jax.tree.map(lambda *a: jnp.stack(a), *members)
        weights = jnp.asarray(rng.normal(size=(5, 2, 3, 3)))
        plain = lambda p, s, x: lax.scan(partial(cell.step, p), s, x)  # noqa: E731
        found, expected = (
            jax.vmap(value_and_grad(way, weights))(params, state, xs)
            for way in (partial(scan, cell.step), plain)
        )
        assert count[0] >= 2, "nothing was turned"
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12), found, expected)


def loop_products(rows, steps, hidden, *, grad):
    """Shapes of the left operands of the products that the compiled loops of an LSTM make."""
    cell = lstm(hidden)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 8))
    xs = jax.ShapeDtypeStruct((steps, rows, 8), jnp.float32)

    def loss(params, xs):
        return jnp.sum(scan(cell.step, params, cell.initial_state((rows,)), xs)[1])

    text = jax.jit(jax.grad(loss) if grad else loss).lower(params, xs).compile().as_text()
    shapes = dict(re.findall(r"(%\S+) = f32\[([0-9,]*)\]", text))
    dots = re.findall(r"dot\((%[^,]+), [^)]*\).*/while/body/", text)
    assert dots
    return {shapes[name] for name in dots}


def test_xla_keeps_what_was_turned():
    """512 units: u is 512 x 2048, 4 MiB; forward its transpose is the left operand, backward u."""
    assert loop_products(16, 8, 512, grad=True) == {"2048,512", "512,2048"}
    assert "2048,512" in loop_products(16, 32, 512, grad=False)


@pytest.mark.parametrize(
    ("rows", "steps", "hidden", "forward"),
    [(16, 7, 512, "16,512"), (20, 32, 512, "20,512"), (16, 32, 256, "16,256")],
)
def test_nothing_is_turned_that_does_not_pay(rows, steps, hidden, forward):
    """Too few steps, rows that are no multiple of 8, a small weight."""
    assert forward in loop_products(rows, steps, hidden, grad=False)


def test_only_a_cpu_turns(turn_all, monkeypatch):
    weight = jax.ShapeDtypeStruct((4, 4), jnp.float32)
    assert products.is_large(weight)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not products.is_large(weight)


@pytest.mark.parametrize("turn", [True, False])
def test_a_steps_precision_is_that_of_every_product(turn, request):
    """Forward, hoisted and backward: a GPU would round the operands of the others to TF32."""
    if turn:
        request.getfixturevalue("turn_all")

    def step(params, h, x):
        product = partial(jnp.matmul, precision="highest")
        h = jnp.tanh(product(x, params["w"]) + product(h, params["u"]))
        return h, h

    def loss(params, h, xs):
        return jnp.sum(scan(step, params, h, xs)[1])

    params = {"w": jnp.ones((4, 3)), "u": jnp.ones((3, 3))}
    text = str(
        jax.make_jaxpr(jax.grad(loss, (0, 2)))(params, jnp.ones((2, 3)), jnp.ones((5, 2, 4)))
    )
    made = re.findall(r"dot_general\[.*?\n *\]", text, re.S)
    assert len(made) == text.count("dot_general[") >= 6  # x w, h u, both cotangents of each
    assert [p for p in made if "HIGHEST" not in p] == []


def test_rows_are_joined_where_no_compiler_splits_them(monkeypatch):
    """A large weight's gradient; the tests run on two devices, either of which is its own here."""
    monkeypatch.setattr(products, "LARGE", 1)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 4, 6))
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))

    def sum_all(a, b):
        return jax.lax.psum(sum_of_outer_products(a, b, None), "rows")

    split = jax.P(None, "rows")
    own = jax.shard_map(sum_all, mesh=mesh, in_specs=(split, split), out_specs=jax.P())
    for function, axes in (partial(sum_of_outer_products, precision=None), 2), (own, 1):
        (product,) = dots(jax.make_jaxpr(function)(a, b).jaxpr)
        contracted, _ = product.params["dimension_numbers"][0]
        assert len(contracted) == axes
        expected = np.einsum("tbk,tbn->kn", a, b)
        np.testing.assert_allclose(function(a, b), expected, rtol=1e-5, atol=1e-5)


def dots(jaxpr):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            yield eqn
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            yield from dots(inner)
