"""What is said of a step's state: affine only where it is, whatever the step hides."""

import jax
import jax.numpy as jnp
import pytest

from seqjax import CELLS, explain, min_gru, sru, stack
from seqjax.cells.rg_lru import rg_lru
from seqjax.fast_scan.jaxprs import flatten
from seqjax.fast_scan.kinds import AFFINE, MIXING, NAMES, NONE, POINTWISE, components

B, H = 2, 3
EXPECTED = {
    "lru": {("re", "im"): AFFINE},
    "s5": {("re", "im"): AFFINE},
    "hgrn": {("re", "im"): AFFINE},
    "min_gru": {("h",): AFFINE},
    "min_lstm": {("h",): AFFINE},
    "rg_lru": {("h",): AFFINE},
    "mamba": {("h",): AFFINE},
    "gla": {("s",): AFFINE},
    "qrnn": {("past",): NONE, ("c",): AFFINE},
    "mlstm": {("m",): POINTWISE, ("c",): AFFINE, ("n",): AFFINE},
    "sru": {("c",): POINTWISE},
    "ind_rnn": {("h",): POINTWISE},
    "para_gru": {("h",): POINTWISE},
    "para_lstm": {("h", "c"): POINTWISE},
}


def kinds_of(step, params, state, x):
    closed = jax.make_jaxpr(step)(params, state, x)
    flat, consts = flatten(closed)
    count = len(consts) + len(jax.tree.leaves(params))
    return components(flat, count, len(jax.tree.leaves(state)))


def of_cell(cell):
    params, state = cell.init(jax.random.key(0), 4), cell.initial_state((B,))
    return kinds_of(cell.step, params, state, jnp.ones((B, 4))), state


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_of_the_kinds_that_its_equations_say(name):
    parts, state = of_cell(CELLS[name](H))
    fields = type(state)._fields
    found = {tuple(fields[i] for i in part.leaves): part.kind for part in parts}
    if name in EXPECTED:
        assert found == EXPECTED[name]
    else:
        assert max(found.values()) == MIXING
    assert all((part.kind > AFFINE) == bool(part.reason) for part in parts)


def test_without_its_peephole_an_sru_is_affine():
    parts, _ = of_cell(sru(H, peephole=False))
    assert [part.kind for part in parts] == [AFFINE]


def test_a_stack_is_its_layers_from_the_lowest_up():
    parts, _ = of_cell(stack(min_gru(H), CELLS["lstm"](H), rg_lru(H)))
    assert [part.kind for part in parts] == [AFFINE, MIXING, AFFINE]
    assert [part.reads for part in parts] == [(), (0,), (0, 1, 2)]
    shown = explain(
        stack(min_gru(H), rg_lru(H)).step,
        stack(min_gru(H), rg_lru(H)).init(jax.random.key(0), 4),
        stack(min_gru(H), rg_lru(H)).initial_state((B,)),
        jnp.ones((B, 4)),
    )
    assert "state[0].h: affine, a linear scan" in shown


@jax.custom_jvp
def rounded(h):
    return jnp.round(h)


rounded.defjvp(lambda primals, tangents: (jnp.round(primals[0]), tangents[0]))


@jax.custom_jvp
def doubled(h):
    """Affine, but its derivative lies."""
    return 2 * h


doubled.defjvp(lambda primals, tangents: (2 * primals[0], 0 * tangents[0]))

x32, bf16 = jnp.float32, jnp.bfloat16
TRAPS = {  # of h [B, H], x [B, H], a matrix u, a vector a: what the kind must not be below
    "max": (lambda h, x, u, a: jnp.maximum(h, x), POINTWISE),
    "clip": (lambda h, x, u, a: jnp.clip(a * h, -1, 1), POINTWISE),
    "relu": (lambda h, x, u, a: jax.nn.relu(h) + x, POINTWISE),
    "where on the state": (lambda h, x, u, a: jnp.where(h > 0, h, x), POINTWISE),
    "where on the input": (lambda h, x, u, a: jnp.where(x > 0, a * h, x), AFFINE),
    "square": (lambda h, x, u, a: h * h, POINTWISE),
    "quotient": (lambda h, x, u, a: h / (h + 3), POINTWISE),
    "inverse": (lambda h, x, u, a: x / (h + 3), POINTWISE),
    "over x": (lambda h, x, u, a: (h - x) / (x * x + 1), AFFINE),
    "sort": (lambda h, x, u, a: jnp.sort(h, -1), MIXING),
    "cumsum": (lambda h, x, u, a: jnp.cumsum(h, -1), MIXING),
    "flip": (lambda h, x, u, a: h[:, ::-1], MIXING),
    "roll over rows": (lambda h, x, u, a: jnp.roll(h, 1, 0), MIXING),
    "product": (lambda h, x, u, a: h @ u, MIXING),
    "mean": (lambda h, x, u, a: h - h.mean(-1, keepdims=True), MIXING),
    "one unit for all": (lambda h, x, u, a: h[:, :1] + x, MIXING),
    "transpose twice": (lambda h, x, u, a: h.T.T * a, MIXING),
    "bfloat16 and back": (lambda h, x, u, a: h.astype(bf16).astype(x32), POINTWISE),
    "integers": (lambda h, x, u, a: h.astype(jnp.int32).astype(x32), MIXING),
    "stop_gradient": (lambda h, x, u, a: jax.lax.stop_gradient(h) * a, MIXING),
    "straight through": (lambda h, x, u, a: rounded(h), POINTWISE),
    "a derivative that lies": (lambda h, x, u, a: doubled(h) * 0.4, POINTWISE),
    "its own coefficient": (lambda h, x, u, a: a * h * jnp.tanh(h), POINTWISE),
    "a loop": (lambda h, x, u, a: jax.lax.fori_loop(0, 2, lambda _, v: v * a, h), MIXING),
    "affine": (lambda h, x, u, a: -(a * h - jnp.tanh(x @ u)) + h, AFFINE),
    "nothing of it": (lambda h, x, u, a: jnp.tanh(x @ u), NONE),
}


@pytest.mark.parametrize("name", TRAPS)
def test_no_step_is_taken_for_affine_that_is_not(name):
    function, expected = TRAPS[name]
    params = {"u": jnp.eye(H), "a": jnp.full(H, 0.5)}

    def step(params, h, x):
        h = function(h, x, params["u"], params["a"])
        return h, jnp.sin(h)

    (part,) = kinds_of(step, params, jnp.ones((B, H)), jnp.ones((B, H)))
    assert NAMES[part.kind] == NAMES[expected]


def test_swapped_leaves_are_one_affine_component():
    def step(params, state, x):
        a, b = state
        return (b, a + x), a

    (part,) = kinds_of(step, {}, (jnp.ones((B, H)), jnp.ones((B, H))), jnp.ones((B, H)))
    assert (part.leaves, part.kind) == ((0, 1), AFFINE)


def test_complex_states_are_affine_where_they_are_linear_over_the_complex_numbers():
    state = jnp.ones((B, H), jnp.complex64)
    steps = {
        AFFINE: lambda p, h, x: (h * jnp.exp(0.3j) + x, h.real),
        MIXING: lambda p, h, x: (h.conj() * 0.5 + x, h.real),
    }
    for kind, step in steps.items():
        (part,) = kinds_of(step, {}, state, jnp.ones((B, H)))
        assert part.kind == kind


def test_a_counter_and_a_state_of_other_shape_are_mixing():
    def step(params, state, x):
        return (state[0] + 1, state[1] * 0.5 + state[0].astype(x.dtype)), x

    parts = kinds_of(step, {}, (jnp.int32(0), jnp.ones((B, H))), jnp.ones((B, H)))
    assert [(part.leaves, part.kind) for part in parts] == [((0,), MIXING), ((1,), AFFINE)]
