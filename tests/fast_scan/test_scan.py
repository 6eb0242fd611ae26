"""The fast scan equals `lax.scan`, values and gradients, for any step; and says why where it cannot."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from jax.experimental import checkify

from seqjax import (
    CELLS,
    InputError,
    bidirectional,
    dense_stack,
    explain,
    gru,
    lstm,
    residual,
    rnn,
    scan,
    stack,
    unroll,
    unroll_loop,
)
from tests.support.randomness import problem, randomise
from tests.support.tiers import cases, long_only, some_cells

WAYS = {
    "plain call": {},
    "reverse": {"reverse": True},
    "products": {"keep": "products"},
    "products, reverse": {"keep": "products", "reverse": True},
    "blocks": {"keep": "blocks"},
    "blocks of 3, a rest, reverse": {"keep": "blocks", "block": 3, "reverse": True},
    "cut in 2": {"block": 2},
    "cut in 3, a rest": {"block": 3},
    "unroll": {"unroll": 2},
}


def gradients(run, *args):
    """Value and gradients of a scalar that depends on all that `run` returns."""

    def loss(*args):
        leaves = [a for a in jax.tree.leaves(run(*args)) if jnp.issubdtype(a.dtype, jnp.inexact)]
        return sum(jnp.sum(jnp.sin(a + 0.1 * i)) for i, a in enumerate(leaves))

    return jax.jit(jax.value_and_grad(loss, argnums=tuple(range(len(args))), allow_int=True))(*args)


def assert_equal_to_lax(step, params, state, xs, **way):
    with jax.enable_x64(True):
        reverse = way.get("reverse", False)
        args = (params, state, xs)
        fast = gradients(lambda p, s, x: scan(step, p, s, x, **way), *args)
        slow = gradients(lambda p, s, x: lax.scan(partial(step, p), s, x, reverse=reverse), *args)
        assert jax.tree.structure(fast) == jax.tree.structure(slow)
        for a, b in zip(jax.tree.leaves(fast), jax.tree.leaves(slow), strict=True):
            if jnp.issubdtype(b.dtype, jnp.inexact):
                scale = max(1.0, float(jnp.max(jnp.abs(b), initial=0)))
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize(
    ("name", "way"),
    [pytest.param(*name.values, {}, marks=name.marks) for name in some_cells()]
    + [("lstm", way) for way in list(WAYS.values())[1:]]
    + [
        pytest.param("gru_reset_before", way, marks=pytest.mark.long)
        for way in list(WAYS.values())[1:]
    ],
)
def test_equals_lax_scan_for_every_cell(name, way):
    cell = CELLS[name](3)
    assert_equal_to_lax(cell.step, *problem(cell, steps=7, dtype=np.float64), **way)


@pytest.mark.parametrize(
    "cell",
    [
        stack(lstm(3), gru(2)),
        dense_stack(rnn(2), lstm(3)),
        residual(gru(4)),
        stack(residual(lstm(4))),
    ],
)
@pytest.mark.parametrize("batch", [long_only(()), (2, 3), long_only((3,))])
def test_equals_lax_scan_for_wrapped_cells_and_any_batch(cell, batch):
    assert_equal_to_lax(cell.step, *problem(cell, batch=batch, dtype=np.float64))


@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_and_both_directions_equal_the_python_loop(reverse):
    cell, lengths = lstm(3), np.array([5, 0, 2])
    with jax.enable_x64(True):
        args = problem(cell, dtype=np.float64)

        def run(unroller):
            return lambda p, s, x: unroller(cell, p, x, s, lengths=lengths, reverse=reverse)

        fast, slow = gradients(run(unroll), *args), gradients(run(unroll_loop), *args)
        for a, b in zip(jax.tree.leaves(fast), jax.tree.leaves(slow), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        pair = (cell, cell)
        both = gradients(
            lambda p, s, x: bidirectional(pair, (p, p), x, (s, s), lengths=lengths), *args
        )

        def two_loops(p, s, x):
            forward, f_ys = unroll_loop(cell, p, x, s, lengths=lengths)
            backward, b_ys = unroll_loop(cell, p, x, s, lengths=lengths, reverse=True)
            return (forward, backward), jnp.concatenate([f_ys, b_ys], -1)

        for a, b in zip(
            jax.tree.leaves(both), jax.tree.leaves(gradients(two_loops, *args)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------ steps that are nobody's cell


def peephole(p, state, x):
    h, c = state
    i, f = jnp.split(
        jax.nn.sigmoid(x @ p["w"] + h @ p["u"] + jnp.concatenate([c, c], -1) * p["p"]), 2, -1
    )
    c = f * c + i * jnp.tanh(h @ p["v"])
    return (jnp.tanh(c), c), {"h": jnp.tanh(c), "gate": i}


def layer_norm(p, state, x):
    z = x @ p["w"] + state @ p["u"]
    z = (z - z.mean(-1, keepdims=True)) * lax.rsqrt(z.var(-1, keepdims=True) + 1e-5)
    h = jnp.tanh(z * p["gain"]) + 0.5 * state
    return h, h


def two_dependent_products(p, state, x):
    r = jax.nn.sigmoid(x @ p["w"] + state @ p["u"])
    h = jnp.tanh((r * state) @ p["v"] + (jnp.sin(r) @ p["v"]) * jnp.tanh(x) @ p["w"])
    return h, (r, h)


def matrix_first(p, state, x):
    h = jnp.tanh(p["u"].T @ state + p["w"].T @ x)
    return h, h


def heads(p, state, x):
    h = jnp.tanh(jnp.einsum("bhd,hde->bhe", state, p["u"]) + x[:, None, :])
    return h, h.sum(1)


def fast_weights(p, state, x):
    h, memory = state
    memory = 0.9 * memory + h[..., :, None] * (x @ p["w"])[..., None, :]
    h = jnp.tanh(jnp.einsum("bij,bj->bi", memory, h) + h @ p["u"])
    return (h, memory), h


def tied_weight(p, state, x):
    h = jnp.tanh(x @ p["u"] + state @ p["u"] + (state @ p["u"]) @ p["u"].T + jnp.sum(p["u"]))
    return h, h


def with_control_flow(p, state, x):
    h = lax.cond(jnp.sum(x) > 0, lambda h: jnp.tanh(h @ p["u"]), lambda h: h * 0.5, state)
    h = lax.fori_loop(0, 2, lambda _, h: jnp.sin(h) + 0.1 * x @ p["w"], h)
    return h, jax.nn.relu(h) + jax.checkpoint(lambda h: jnp.tanh(h @ p["u"]))(h)


def _shape(tree):
    return isinstance(tree, tuple) and all(isinstance(n, int) for n in tree)


def drawn(shape, seed=0):
    return 0.5 * np.random.default_rng(seed).normal(size=shape)


STEPS = {
    peephole: ({"w": (4, 6), "u": (3, 6), "v": (3, 3), "p": (6,)}, ((2, 3), (2, 3)), (5, 2, 4)),
    layer_norm: ({"w": (4, 3), "u": (3, 3), "gain": (3,)}, (2, 3), (5, 2, 4)),
    two_dependent_products: ({"w": (3, 3), "u": (3, 3), "v": (3, 3)}, (2, 3), (5, 2, 3)),
    matrix_first: ({"w": (4, 3), "u": (3, 3)}, (3,), (5, 4)),
    heads: ({"u": (2, 3, 3)}, (4, 2, 3), (5, 4, 3)),
    fast_weights: ({"w": (4, 3), "u": (3, 3)}, ((2, 3), (2, 3, 3)), (5, 2, 4)),
    tied_weight: ({"u": (3, 3)}, (2, 3), (5, 2, 3)),
    with_control_flow: ({"w": (3, 3), "u": (3, 3)}, (2, 3), (5, 2, 3)),
}


@pytest.mark.parametrize(
    "way",
    [
        "plain call",
        long_only("products, reverse"),
        long_only("cut in 3, a rest"),
    ],
)
@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.__name__)
def test_equals_lax_scan_for_steps_of_all_kinds(step, way):
    params, state, xs = jax.tree.map(drawn, STEPS[step], is_leaf=_shape)
    assert_equal_to_lax(step, params, state, xs, **WAYS[way])


@pytest.mark.parametrize("way", [long_only("plain call"), "blocks", long_only("cut in 3, a rest")])
def test_random_keys_and_integers_in_xs_state_and_outputs(way):
    def step(p, state, x):
        h, count, key = state
        noise = jax.random.bernoulli(x["key"], 0.5, h.shape)
        h = jnp.tanh(h * jax.random.bernoulli(key, 0.8, h.shape) @ p["u"] + x["x"] @ p["w"])
        h = h * noise / (1 + count)
        return (h, count + 1, jax.random.split(key)[0]), (h, count, key)

    params = {"w": drawn((3, 4)), "u": drawn((4, 4), 1)}
    keys = jax.random.split(jax.random.key(0), 7)
    xs = {"x": drawn((7, 2, 3), 2), "key": keys}
    state = (drawn((2, 4), 3), np.int32(0), jax.random.key(1))
    with jax.enable_x64(True):

        def run(scanner):
            return lambda p, h, x: scanner(p, (h, *state[1:]), {"x": x, "key": keys})

        fast_run = run(lambda p, s, x: scan(step, p, s, x, **WAYS[way]))
        slow_run = run(lambda p, s, x: lax.scan(partial(step, p), s, x))
        fast = gradients(fast_run, params, state[0], xs["x"])
        slow = gradients(slow_run, params, state[0], xs["x"])
        for a, b in zip(jax.tree.leaves(fast), jax.tree.leaves(slow), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        # The forward loop of a gradient:
        through_vjp, _ = jax.vjp(fast_run, params, state[0], xs["x"])
        for a, b in zip(
            jax.tree.leaves(through_vjp),
            jax.tree.leaves(slow_run(params, state[0], xs["x"])),
            strict=True,
        ):
            if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                a, b = jax.random.key_data(a), jax.random.key_data(b)
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_arrays_a_step_closes_over_get_their_gradients():
    params, state, xs = {"w": drawn((3, 4))}, drawn((2, 4)), drawn((5, 2, 3))

    def run(scanner):
        def with_u(u, p):
            return scanner(lambda p, h, x: (jnp.tanh(x @ p["w"] + h @ u),) * 2, p, state, xs)

        return with_u

    with jax.enable_x64(True):
        args = drawn((4, 4), 1), params
        fast = gradients(run(scan), *args)
        slow = gradients(run(lambda f, p, s, x: lax.scan(partial(f, p), s, x)), *args)
    for a, b in zip(jax.tree.leaves(fast), jax.tree.leaves(slow), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@given(data=st.data())
@cases(short=10, long=400)
def test_equals_lax_scan_for_random_steps(data):
    """Random graphs of products, elementwise functions and concatenations."""
    plan = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["product", "unary", "binary", "concatenate", "gate"]),
                st.integers(0, 99),
                st.integers(0, 99),
                st.integers(0, 99),
            ),
            min_size=2,
            max_size=7,
        )
    )
    weights = {f"w{i}": drawn((3, 3), i) for i in range(3)} | {"b": drawn((3,), 9)}
    unary = [jnp.tanh, jax.nn.sigmoid, jnp.sin, jax.nn.relu, jnp.exp, lambda v: v * v, jnp.negative]
    binary = [jnp.add, jnp.multiply, jnp.subtract, jnp.maximum, lambda a, b: a / (1 + b * b)]

    def step(p, state, x):
        values = [state["h"], x, jnp.broadcast_to(p["b"], x.shape), state["c"]]
        for kind, i, j, k in plan:
            a, b = values[i % len(values)], values[j % len(values)]
            if kind == "product":
                values.append(a @ p[f"w{k % 3}"])
            elif kind == "unary":
                values.append(unary[k % len(unary)](jnp.tanh(a)))
            elif kind == "binary":
                values.append(binary[k % len(binary)](a, b))
            elif kind == "gate":
                g = jax.nn.sigmoid(values[k % len(values)])
                values.append(g * a + (1 - g) * b)
            else:
                values.append(jnp.concatenate([a, b], -1)[..., k % 4 : k % 4 + 3])
        h, c = jnp.tanh(values[-1]), jnp.tanh(values[-2])
        return {"h": h, "c": c}, (values[len(values) // 2], h)

    state = {"h": drawn((2, 3), 20), "c": drawn((2, 3), 21)}
    way = data.draw(st.sampled_from(list(WAYS.values())))
    with jax.disable_jit():  # the same equations one by one: 80 compilations take minutes
        assert_equal_to_lax(step, weights, state, drawn((4, 2, 3), 22), **way)


# ------------------------------------------------------------------ other libraries' cells


def library_step(name):
    """`(step, params, state)` of an LSTM or GRU cell as another library made it."""
    key, x = jax.random.key(0), jnp.zeros((2, 3))
    if name == "linen":
        from flax import linen

        cell = linen.LSTMCell(4)
        state = cell.initialize_carry(key, x.shape)
        params = cell.init(key, state, x)
        return cell.apply, params, state
    if name == "nnx":
        from flax import nnx

        cell = nnx.GRUCell(3, 4, rngs=nnx.Rngs(0))
        graphdef, params = nnx.split(cell)
        return lambda p, s, x: nnx.merge(graphdef, p)(s, x), params, jnp.zeros((2, 4))
    if name == "haiku":
        hk = pytest.importorskip("haiku")
        core = hk.without_apply_rng(hk.transform(lambda x, s: hk.LSTM(4)(x, s)))
        state = hk.LSTMState(jnp.zeros((2, 4)), jnp.zeros((2, 4)))

        def step(p, s, x):
            y, s = core.apply(p, x, s)
            return s, y

        return step, core.init(key, x, state), state
    eqx = pytest.importorskip("equinox")
    params, static = eqx.partition(eqx.nn.GRUCell(3, 4, key=key), eqx.is_array)

    def step(p, h, x):
        h = jax.vmap(eqx.combine(p, static))(x, h)
        return h, h

    return step, params, jnp.zeros((2, 4))


@pytest.mark.parametrize("name", [*map(long_only, ("linen", "nnx", "haiku")), "equinox"])
def test_runs_other_libraries_cells_as_they_are(name):
    with jax.enable_x64(True):
        step, params, state = library_step(name)
        params, state = (randomise(t, seed, np.float64) for seed, t in enumerate((params, state)))
        assert_equal_to_lax(step, params, state, drawn((5, 2, 3)))


# ------------------------------------------------------------------ transformations


@pytest.mark.parametrize("way", [long_only("plain call"), "blocks", long_only("cut in 2")])
@pytest.mark.long
def test_under_vmap_over_parameters_inputs_and_both(way):
    cell = gru(3)
    with jax.enable_x64(True):
        params, state, xs = problem(cell, dtype=np.float64)
        many = jax.tree.map(lambda a: np.stack([a, 1.5 * a, -a]), params)
        many_xs = np.stack([xs, xs + 1, 2 * xs])

        def grads(scanner):
            def one(p, x):
                return jax.grad(lambda p, x: jnp.sum(scanner(p, x)[1] ** 2), (0, 1))(p, x)

            return [
                jax.jit(jax.vmap(one, axes))(*args)
                for axes, args in [
                    ((0, None), (many, xs)),
                    ((None, 0), (params, many_xs)),
                    ((0, 0), (many, many_xs)),
                ]
            ]

        fast = grads(lambda p, x: scan(cell.step, p, state, x, **WAYS[way]))
        slow = grads(lambda p, x: lax.scan(partial(cell.step, p), state, x))
    for a, b in zip(jax.tree.leaves(fast), jax.tree.leaves(slow), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("way", [long_only("plain call"), "blocks", long_only("cut in 2")])
@pytest.mark.long
def test_second_derivatives_and_checkpoint(way):
    cell = lstm(2)
    with jax.enable_x64(True):
        params, state, xs = problem(cell, steps=3, batch=(), dtype=np.float64)

        def hessian_row(scanner):
            def loss(u):
                return jnp.sum(scanner({**params, "u": u}, state, xs)[1] ** 2)

            return jax.jit(jax.grad(lambda u: jnp.sum(jax.grad(loss)(u) ** 2)))(params["u"])

        run = lambda p, s, x: scan(cell.step, p, s, x, **WAYS[way])  # noqa: E731
        fast = hessian_row(run)
        again = hessian_row(jax.checkpoint(run))
        slow = hessian_row(lambda p, s, x: lax.scan(partial(cell.step, p), s, x))
    np.testing.assert_allclose(fast, slow, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(again, slow, rtol=1e-11, atol=1e-12)


def test_forward_mode_where_it_is_asked_for():
    cell = lstm(3)
    params, state, xs = problem(cell)
    fast = jax.jacrev(lambda x: unroll(cell, params, x, state)[1])(xs)
    forward = jax.jacfwd(lambda x: unroll(cell, params, x, state, forward_mode=True)[1])(xs)
    np.testing.assert_allclose(fast, forward, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="give forward_mode=True"):
        jax.jacfwd(lambda x: unroll(cell, params, x, state)[1])(xs)


def test_length_without_xs():
    params, state = drawn((3, 3)), drawn((2, 3))
    step = lambda p, h, x: (jnp.tanh(h @ p), h)  # noqa: E731
    with jax.enable_x64(True):
        final, ys = scan(step, params, state, None, 4)
        expected, expected_ys = lax.scan(partial(step, params), state, None, 4)
    np.testing.assert_allclose(final, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ys, expected_ys, rtol=1e-12, atol=1e-12)


def test_the_backward_loop_has_no_weight_sized_accumulator():
    """The point of it all: what an iteration hands on does not grow with H²."""
    cell = lstm(64)
    params, state, xs = problem(cell, steps=9)

    def loss(params):
        return jnp.sum(unroll(cell, params, xs, state)[1])

    def handed_on(jaxpr):
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "scan":
                yield from eqn.params["jaxpr"].out_avals
            for inner in jax.extend.core.jaxprs_in_params(eqn.params):
                yield from handed_on(inner)

    def largest(grad):
        return max(aval.size for aval in handed_on(jax.make_jaxpr(grad)(params).jaxpr))

    def plain_loss(params):
        return jnp.sum(lax.scan(partial(cell.step, params), state, xs)[1])

    assert largest(jax.grad(loss)) <= 3 * 4 * 64
    assert largest(jax.grad(plain_loss)) == 64 * 4 * 64  # as a plain scan does


@pytest.mark.parametrize("keep", ["gates", "products"])
def test_blocks_write_what_they_keep_where_it_stays(keep):
    """A loop over blocks that hands on the blocks' stacks would copy all of them."""
    cell = lstm(4)
    params, state, xs = problem(cell, steps=9)

    def loss(params, xs):
        return jnp.sum(unroll(cell, params, xs, state, block=2, keep=keep)[1])

    def loops_over_blocks(jaxpr):
        for eqn in jaxpr.eqns:
            inside = list(jax.extend.core.jaxprs_in_params(eqn.params))
            if eqn.primitive.name == "scan":
                names = [e.primitive.name for body in inside for e in body.eqns]
                if "scan" in names:
                    yield eqn
            for inner in inside:
                yield from loops_over_blocks(inner)

    found = list(loops_over_blocks(jax.make_jaxpr(jax.grad(loss, (0, 1)))(params, xs).jaxpr))
    assert len(found) == 2
    of_blocks = (4, 2)  # the shape of stacks [blocks, steps of a block, ...]
    assert not [v.aval for eqn in found for v in eqn.outvars if v.aval.shape[:2] == of_blocks]


@pytest.mark.parametrize(
    ("batch", "steps", "hidden", "whole"),
    [(64, 50, 512, True), (64, 128, 256, False), (64, 500, 512, False), (16, 100, 128, True)],
)
def test_time_is_cut_where_blocks_are_large_beside_the_weights(batch, steps, hidden, whole):
    cell = lstm(hidden)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), hidden))
    xs = jax.ShapeDtypeStruct((steps, batch, hidden), jnp.float32)
    loss = lambda params, xs: jnp.sum(unroll(cell, params, xs)[1])  # noqa: E731
    jaxpr = jax.make_jaxpr(jax.grad(loss))(shapes, xs).jaxpr
    lengths = {eqn.params["length"] for eqn in jaxpr.eqns if eqn.primitive.name == "scan"}
    assert (lengths == {steps}) == whole


# ------------------------------------------------------------------ at the door


def ok(p, h, x):
    h = jnp.tanh(h @ p + x)
    return h, h


@pytest.mark.parametrize(
    ("step", "state", "xs", "kwargs", "message"),
    [
        (lambda p, s, x: ((s[0],), x), (np.ones(3), np.ones(3)), np.ones((4, 3)), {}, "structure"),
        (
            lambda p, s, x: ({"c": s["c"], "h": s["h"][:2]}, x),
            {"c": np.ones(3, np.float32), "h": np.ones(3, np.float32)},
            np.ones((4, 3), np.float32),
            {},
            r"leaf state\['h'\] from float32\[3\] to float32\[2\]",
        ),
        (
            lambda p, s, x: (s.astype(jnp.bfloat16), x),
            np.ones(3, np.float32),
            np.ones((4, 3), np.float32),
            {},
            r"leaf state from float32\[3\] to bfloat16\[3\]",
        ),
        (
            ok,
            np.ones(3),
            {"a": np.ones((4, 3)), "b": np.ones((5, 3))},
            {},
            r"\['a'\]: 4.*\['b'\]: 5",
        ),
        (ok, np.ones(3), np.ones((4, 3)), {"length": 5}, "xs: 4, length: 5"),
        (ok, np.ones(3), np.ones((0, 3)), {}, "at least one time step, got 0"),
        (ok, np.ones(3), np.float32(1), {}, "leading time axis"),
        (ok, np.ones(3), None, {}, "or length"),
        (ok, np.ones(3), np.ones((4, 3)), {"keep": "all"}, "keep must be one of .* got 'all'"),
        (ok, np.ones(3), np.ones((4, 3)), {"block": 0}, "block must be .* got 0"),
        (lambda p, s, x: s, np.ones(3), np.ones((4, 3)), {}, "returns the pair"),
    ],
)
def test_wrong_input_fails_at_once_and_names_it(step, state, xs, kwargs, message):
    with pytest.raises(InputError, match=message):
        scan(step, np.eye(3, dtype=np.float32), state, xs, **kwargs)


def test_side_effects_are_refused():
    def step(p, h, x):
        jax.debug.print("{}", h)
        return ok(p, h, x)

    with pytest.raises(InputError, match=r"side effects.*forward_mode=True"):
        scan(step, np.eye(3), np.ones(3), np.ones((4, 3)))


def test_the_plain_scan_keeps_side_effects(capfd):
    def step(p, h, x):
        jax.debug.print("state {}", h[0])
        checkify.check(jnp.all(x < 3), "too large")
        return ok(p, h, x)

    def run(xs):
        return scan(step, jnp.eye(3), jnp.ones(3), xs, forward_mode=True)

    error, _ = checkify.checkify(run)(jnp.ones((4, 3)))
    jax.effects_barrier()
    assert error.get() is None
    assert capfd.readouterr().out.count("state") == 4
    error, _ = checkify.checkify(run)(jnp.arange(4.0)[:, None] * jnp.ones(3))
    assert "too large" in error.get()


def test_explain_names_products_bytes_and_what_cannot_be_deferred():
    cell = lstm(8)
    params, state, xs = problem(cell, batch=(2,), input_size=5)
    text = explain(cell.step, params, state, xs[0])
    assert "hoisted   f32[2,5] x f32[5,32] -> f32[2,32], 640 operations" in text
    assert "deferred  f32[2,8] x f32[8,32] -> f32[2,32], 1,024 operations" in text
    # i, f, g, o, and the h and c before; tanh(c) is repeated
    assert f"keep='gates': {6 * 2 * 8 * 4:,} bytes" in text
    assert "lax.scan" in explain(lambda p, h, x: (h * p + x, h), np.float32(1), state.h, state.h)
    text = explain(
        with_control_flow,
        *jax.tree.map(drawn, STEPS[with_control_flow], is_leaf=_shape)[:2],
        drawn((2, 3)),
    )
    assert "summed step by step" in text


def test_elementwise_steps_in_blocks_equal_lax_scan():
    def step(p, h, x):
        h = jnp.tanh(h * p["a"] + x)
        return h, h * x

    assert_equal_to_lax(step, {"a": drawn((3,))}, drawn((2, 3)), drawn((7, 2, 3)), keep="blocks")
    assert_equal_to_lax(step, {"a": drawn((3,))}, drawn((2, 3)), drawn((7, 2, 3)))
