"""Trees in batches: every cell against its equations, and what no batch, order or padding may change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from seqjax import InputError, lstm, rnn, unroll
from seqjax.recurrence.tree import compose, rounded_up, schedule
from seqjax.tree_cells import TREE_CELLS
from tests.support import tree_reference
from tests.support.randomness import randomise
from tests.support.tiers import long_only
from tests.support.tree_reference import TREE_REFERENCES
from tests.support.trees import chain, comb, is_leaf, random_tree

pytestmark = pytest.mark.usefixtures("strict_promotion")

H = 3
INPUTS = {"tree_lstm": 4, "child_sum": 4, "rnn": H, "rntn": H}  # D
TAKES_INNER = ("tree_lstm", "child_sum")

each_cell = pytest.mark.parametrize("name", TREE_CELLS)


def make(name, seed=0, dtype=np.float64):
    cell = TREE_CELLS[name](H)
    return cell, randomise(cell.init(jax.random.key(seed), INPUTS[name]), seed + 1, dtype)


def make_trees(name, seed=0, leaves=(5, 1, 9, 2)):
    rng = np.random.default_rng(seed)
    most = 2 if TREE_CELLS[name](H).arity else 4
    return [random_tree(rng, n, most, at_least=2 if most == 2 else 1) for n in leaves]


def vectors(trees, size, seed=3, inner=False):
    """An input for every leaf, or for every node: a dict of each tree."""
    rng = np.random.default_rng(seed)
    return [
        {n: rng.normal(size=size) for n in range(len(t)) if inner or is_leaf(t)[n]} for t in trees
    ]


def place(placed, trees, inputs, fill=np.nan):
    """Inputs of nodes in the slots of a schedule, padding filled with `fill`."""
    waves, width, _ = placed.schedule.children.shape
    size = len(next(iter(inputs[0].values())))
    array = np.full((len(placed.schedule.live), size), fill)
    slots = iter(placed.slots)
    for tree, vector in zip(trees, inputs, strict=True):
        for node in range(len(tree)):
            slot = next(slots)
            if node in vector:
                array[slot] = vector[node]
    inner = any(len(vector) > is_leaf(t).sum() for t, vector in zip(trees, inputs, strict=True))
    return array if inner else array[: len(array) - waves * width]


def states_of(cell, params, trees, inputs, fill=np.nan, **sizes):
    """The states of all nodes, tree after tree, by a batch."""
    placed = schedule(trees, arity=cell.arity, **{"width": 2} | sizes)
    buffer = compose(cell, params, jnp.asarray(place(placed, trees, inputs, fill)), placed.schedule)
    return jax.tree.map(lambda a: a[placed.slots], buffer)


def close(a, b, tolerance=1e-10):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("name", "inner"), [(n, False) for n in TREE_CELLS] + [(n, True) for n in TAKES_INNER]
)
def test_equals_its_equations(name, inner):
    with jax.enable_x64(True):
        cell, params = make(name)
        trees = make_trees(name)
        inputs = vectors(trees, INPUTS[name], inner=inner)
        states = states_of(cell, params, trees, inputs)
    start = 0
    for tree, vector in zip(trees, inputs, strict=True):
        expected = tree_reference.compose(TREE_REFERENCES[name], params, tree, vector)
        for node in range(len(tree)):
            for part, value in expected[node].items():
                close(getattr(states, part)[start + node], value)
        start += len(tree)


@pytest.mark.numeric
@each_cell
def test_values_and_gradients_equal_recursion_by_torch(name):
    torch = pytest.importorskip("torch")
    with jax.enable_x64(True):
        cell, params = make(name)
        trees = make_trees(name)
        inputs = vectors(trees, INPUTS[name])
        weights = np.random.default_rng(9).normal(size=(sum(map(len, trees)), H))

        def loss(params):
            return jnp.sum(cell.read(states_of(cell, params, trees, inputs)) * weights)

        value, grads = jax.jit(jax.value_and_grad(loss))(params)
    theirs = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    states = [
        torch_compose(torch, name, theirs, tree, vector)
        for tree, vector in zip(trees, inputs, strict=True)
    ]
    h = torch.stack([states_[n][0] for states_ in states for n in sorted(states_)])
    total = (h * torch.tensor(weights)).sum()
    total.backward()
    close(value, total.item())
    for part, gradient in grads.items():
        used = theirs[part].grad
        close(gradient, 0 if used is None else used.numpy(), 1e-9)


def torch_compose(torch, name, p, tree, vector):
    """(h, c) of every node, by recursion over eager tensors."""
    states = {}

    def visit(node):
        children = [visit(c) for c in tree[node] if c >= 0]
        x = torch.tensor(vector[node]) if node in vector else None
        states[node] = TORCH[name](torch, p, children, x)
        return states[node]

    visit(len(tree) - 1)
    return states


def torch_tree_lstm(torch, p, children, x):
    own = p["b"] if x is None else x @ p["w"] + p["b"]
    i, f, g, o = own.chunk(4)
    if not children:
        c = torch.sigmoid(i) * torch.tanh(g)
    else:
        z = torch.cat([h for h, _ in children]) @ p["u"]
        z_i, z_1, z_2, z_g, z_o = z.chunk(5)
        c = torch.sigmoid(i + z_i) * torch.tanh(g + z_g)
        c = c + torch.sigmoid(f + z_1) * children[0][1] + torch.sigmoid(f + z_2) * children[1][1]
        o = o + z_o
    return torch.sigmoid(o) * torch.tanh(c), c


def torch_child_sum(torch, p, children, x):
    own = p["b"] if x is None else x @ p["w"] + p["b"]
    total = sum((h for h, _ in children), torch.zeros(H, dtype=torch.float64))
    i, f, g, o = own.chunk(4)
    u_i, u_f, u_g, u_o = p["u"].chunk(4, dim=1)
    c = torch.sigmoid(i + total @ u_i) * torch.tanh(g + total @ u_g)
    for h, below in children:
        c = c + torch.sigmoid(f + h @ u_f) * below
    return torch.sigmoid(o + total @ u_o) * torch.tanh(c), c


def torch_rnn(torch, p, children, x):
    if not children:
        return torch.tanh(x), None
    return torch.tanh(torch.cat([h for h, _ in children]) @ p["u"] + p["b"]), None


def torch_rntn(torch, p, children, x):
    if not children:
        return torch.tanh(x), None
    pair = torch.cat([h for h, _ in children])
    squared = torch.einsum("a,abj,b->j", pair, p["v"], pair)
    return torch.tanh(squared + pair @ p["u"] + p["b"]), None


TORCH = {
    "tree_lstm": torch_tree_lstm,
    "child_sum": torch_child_sum,
    "rnn": torch_rnn,
    "rntn": torch_rntn,
}


@pytest.mark.numeric
@each_cell
@pytest.mark.long
def test_gradients_by_finite_differences_on_seven_nodes(name):
    with jax.enable_x64(True):
        cell, params = make(name)
        (tree,) = make_trees(name, leaves=(4,))
        trees, weights = [tree], np.random.default_rng(4).normal(size=(len(tree), H))
        vector = np.stack(list(vectors(trees, INPUTS[name])[0].values()))
        leaves = np.flatnonzero(is_leaf(tree))

        def loss(arguments):
            params, vector = arguments
            placed = schedule(trees, arity=cell.arity, width=2)
            waves, width, _ = placed.schedule.children.shape
            num_leaves = len(placed.schedule.live) - waves * width
            array = jnp.zeros((num_leaves, vector.shape[1])).at[placed.slots[leaves]].set(vector)
            buffer = compose(cell, params, array, placed.schedule)
            return jnp.sum(cell.read(buffer)[placed.slots] * weights)

        loss = jax.jit(loss)
        flat, unflatten = ravel_pytree((params, vector))
        gradient = ravel_pytree(jax.grad(loss)((params, vector)))[0]
        for k in range(len(flat)):
            step = 1e-6 * (np.arange(len(flat)) == k)
            slope = (loss(unflatten(flat + step)) - loss(unflatten(flat - step))) / 2e-6
            close(gradient[k], slope, 1e-7)


@pytest.mark.numeric
def test_a_chain_of_single_children_is_the_lstm():
    """Child-Sum with one child and an input at every node: `seqjax.lstm` from a state of zeros."""
    with jax.enable_x64(True):
        cell, params = make("child_sum")
        xs = np.random.default_rng(5).normal(size=(8, 4))
        states = states_of(cell, params, [chain(8)], [dict(enumerate(xs))])
        zeros = jax.tree.map(lambda a: a.astype(np.float64), lstm(H).initial_state(()))
        final, ys = unroll(lstm(H), params, xs, zeros)
        close(states.h, ys)
        close(states.c[-1], final.c)


@pytest.mark.numeric
@pytest.mark.parametrize("left", [True, False])
def test_a_comb_is_the_sequential_cell_that_reads_its_leaves(left):
    """The recursive network is tanh(W₁ h + W₂ tanh(x) + b): the RNN with tied weights."""
    with jax.enable_x64(True):
        cell, params = make("rnn")
        tree = comb(9, left)
        leaves = np.flatnonzero(is_leaf(tree))
        xs = np.random.default_rng(6).normal(size=(9, H))
        h = cell.read(
            states_of(cell, params, [tree], [dict(zip(leaves.tolist(), xs, strict=True))])
        )
        inner, leaf = (
            (params["u"][:H], params["u"][H:]) if left else (params["u"][H:], params["u"][:H])
        )
        tied = {"u": inner, "w": leaf, "b": params["b"]}
        sequential = rnn(H)
        state = sequential.initial_state(())._replace(h=np.tanh(xs[0]))
        _, ys = unroll(sequential, tied, np.tanh(xs[1:]), state)
        close(h[~is_leaf(tree)], ys)


@pytest.mark.numeric
def test_a_comb_of_tree_lstms_is_an_lstm_of_its_leaves():
    """With leaves whose c is zero, U of the leaf is the kernel, and U of the comb the recurrence."""
    with jax.enable_x64(True):
        cell, params = make("tree_lstm")
        tree = comb(7)
        h_leaves = 0.5 * np.random.default_rng(7).normal(size=(7, H))
        parts = [np.split(params["u"][k * H : (k + 1) * H], 5, axis=1) for k in (0, 1)]
        own, other = ([p[0], p[1], p[3], p[4]] for p in parts)
        tied = {"w": np.concatenate(other, 1), "u": np.concatenate(own, 1), "b": params["b"]}
        # The cell with leaves that are given, c = 0
        given = cell._replace(
            leaf=lambda _, x: cell.leaf(params, jnp.zeros((len(x), 4)))._replace(h=x, c=0 * x)
        )
        leaves = np.flatnonzero(is_leaf(tree)).tolist()
        states = states_of(given, params, [tree], [dict(zip(leaves, h_leaves, strict=True))])
        start = lstm(H).initial_state(())._replace(h=h_leaves[0], c=np.zeros(H))
        _, ys = unroll(lstm(H), tied, h_leaves[1:], start)
        close(states.h[~is_leaf(tree)], ys)


@pytest.mark.numeric
@pytest.mark.parametrize("name", ["rnn", *map(long_only, ("child_sum", "rntn", "tree_lstm"))])
def test_order_width_and_padding_change_nothing(name):
    """Values exactly as of each tree by itself, gradients up to the order of sums."""
    with jax.enable_x64(True):
        cell, params = make(name)
        trees = make_trees(name)
        inputs = vectors(trees, INPUTS[name])
        starts = np.cumsum([0, *map(len, trees)])

        def outputs(order, fill=np.nan, **sizes):
            def loss(params):
                some, theirs = [trees[i] for i in order], [inputs[i] for i in order]
                h = cell.read(states_of(cell, params, some, theirs, fill, **sizes))
                parts = np.split(np.arange(len(h)), np.cumsum([len(t) for t in some])[:-1])
                back = {i: h[part] for i, part in zip(order, parts, strict=True)}
                all_h = jnp.concatenate([back[i] for i in range(len(trees))])
                return jnp.sum(all_h**2 * np.arange(1.0, len(all_h) + 1)[:, None]), all_h

            (_, h), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
            return h, grads

        h, grads = outputs([0, 1, 2, 3])
        assert np.all(np.isfinite(h))
        assert all(np.all(np.isfinite(g)) for g in grads.values())
        for order, fill, sizes in (
            ([2, 0, 3, 1], np.nan, {}),
            ([0, 1, 2, 3], np.inf, {"width": 1}),
            ([3, 2, 1, 0], 7.0, {"width": 13}),
            ([0, 1, 2, 3], np.nan, {"leaves": 40, "waves": 30}),
        ):
            again, grads_again = outputs(order, fill, **sizes)
            close(h, again)
            for part, gradient in grads.items():
                close(gradient, grads_again[part], 1e-9)
        for i, tree in enumerate(trees):
            alone = cell.read(states_of(cell, params, [tree], [inputs[i]]))
            close(alone, h[starts[i] : starts[i + 1]])


@pytest.mark.numeric
def test_only_the_child_sum_does_not_see_the_order_of_children():
    trees = [np.array([[-1, -1], [-1, -1], pair]) for pair in ([0, 1], [1, 0])]
    with jax.enable_x64(True):
        for name in TREE_CELLS:
            cell, params = make(name)
            inputs = vectors(trees[:1], INPUTS[name])
            first, mirrored = (cell.read(states_of(cell, params, [t], inputs))[-1] for t in trees)
            if name == "child_sum":
                close(first, mirrored)
            else:
                assert np.max(np.abs(first - mirrored)) > 1e-3


def test_a_missing_child_of_a_binary_cell_is_zero():
    with jax.enable_x64(True):
        cell, params = make("tree_lstm")
        tree = np.array([[-1, -1], [0, -1]])
        inputs = vectors([tree], 4)
        expected = tree_reference.compose(TREE_REFERENCES["tree_lstm"], params, tree, inputs[0])
        close(states_of(cell, params, [tree], inputs).h[-1], expected[1]["h"])


@each_cell
def test_a_comb_of_depth_200_needs_memory_for_its_nodes_alone(name):
    """... its gradient keeps no copy of the buffer for each of the waves."""
    cell, params = make(name, dtype=np.float32)
    placed = schedule([comb(201)], width=1, arity=cell.arity)
    plan = placed.schedule
    assert plan.children.shape[0] >= 200
    num_leaves = len(plan.live) - plan.children.shape[0]
    inputs = np.random.default_rng(8).normal(size=(num_leaves, INPUTS[name])).astype(np.float32)

    @jax.jit
    def gradient(params, inputs):
        return jax.grad(
            lambda p: jnp.sum(cell.read(compose(cell, p, inputs, plan))[placed.slots] ** 2)
        )(params)

    for leaf in jax.tree.leaves(gradient(params, inputs)):
        assert np.all(np.isfinite(leaf))
    used = gradient.lower(params, inputs).compile().memory_analysis().temp_size_in_bytes
    one_buffer = len(plan.live) * H * 4
    inside = {"rntn": 2 * H * H}.get(name, 10 * H)  # numbers of a node within the cell
    assert used < 12 * one_buffer + 8 * plan.children.shape[0] * inside * 4


def test_schedules_are_shortest():
    """A wave is as full as can be, and no shorter order exists for combs and full trees."""
    rows = [[-1, -1]] * 8 + [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12, 13]]
    full = np.array(rows)
    for width, waves in ((1, 7), (2, 4), (3, 4), (4, 3), (9, 3)):
        plan = schedule([full], width=width).schedule
        assert used_waves(plan) == waves
    # A comb is begun first though small trees would fill its waves: 20 waves, not more.
    small = [np.array([[-1, -1], [-1, -1], [0, 1]])] * 20
    assert used_waves(schedule([*small, comb(21)], width=2).schedule) == 20


def used_waves(plan):
    waves, width, _ = plan.children.shape
    return int(plan.live[-waves * width :].reshape(waves, width).any(1).sum())


@pytest.mark.parametrize("seed", range(20))
def test_schedules_put_children_before_parents(seed):
    rng = np.random.default_rng(seed)
    trees = [random_tree(rng, int(rng.integers(1, 30)), 4, at_least=1) for _ in range(5)]
    width = int(rng.integers(1, 9))
    placed = schedule(trees, width=width, arity=0)
    plan, start = placed.schedule, 0
    waves = plan.children.shape[0]
    num_leaves = len(plan.live) - waves * width
    assert len(set(placed.slots.tolist())) == len(placed.slots) == plan.live.sum()
    for tree, root in zip(trees, placed.roots, strict=True):
        slots = placed.slots[start : start + len(tree)]
        assert slots[-1] == root
        for node, children in enumerate(tree):
            children = children[children >= 0]
            if not len(children):
                assert slots[node] < num_leaves
                continue
            wave, place_in_it = divmod(slots[node] - num_leaves, width)
            there = plan.present[wave, place_in_it]
            np.testing.assert_array_equal(plan.children[wave, place_in_it][there], slots[children])
            assert np.all(slots[children] < num_leaves + wave * width)
        start += len(tree)


def test_sizes_are_rounded_up_by_at_most_a_quarter():
    sizes = [rounded_up(n) for n in range(1, 3000)]
    assert all(n <= size <= max(n + 1, 1.25 * n) for n, size in enumerate(sizes, 1))
    assert len(set(sizes)) < 50


def test_a_comb_of_depth_5000_is_scheduled():
    assert used_waves(schedule([comb(5001)], width=4).schedule) == 5000


@pytest.mark.parametrize(
    ("trees", "sentence"),
    [
        ([], "at least one tree"),
        ([np.array([0, 1])], r"integers \[N, K\]"),
        ([[[-1, -1], [0]]], r"integers \[N, K\]"),
        ([np.array([[0.5, 1.0]])], r"integers \[N, K\]"),
        ([np.array([[-1, -1], [-1, -1]])], "every node but the last is one child"),
        ([np.array([[1, -1], [-1, -1]])], "children stand before their parents"),
        ([np.array([[-1, -1], [-1, 0]])], "from left to right"),
        ([np.array([[-1, -1], [0, 0]])], "one child"),
        ([np.array([[-1] * 3] * 3 + [[0, 1, 2]])], "a node has 3 children, and this cell joins 2"),
    ],
)
def test_what_is_no_tree_is_refused(trees, sentence):
    with pytest.raises(InputError, match=sentence):
        schedule(trees, width=2)


def test_inputs_of_another_size_are_refused():
    cell = TREE_CELLS["tree_lstm"](H)
    params = cell.init(jax.random.key(0), 4)
    plan = schedule([comb(3)], width=2).schedule
    with pytest.raises(InputError, match=r"compose takes inputs \[3, D\] of leaves"):
        compose(cell, params, jnp.zeros((2, 4)), plan)


def test_schedules_of_other_cells_are_refused():
    cell = TREE_CELLS["rntn"](H)
    params = cell.init(jax.random.key(0), H)
    placed = schedule([np.array([[-1] * 3] * 3 + [[0, 1, 2]])], width=2, arity=0)
    with pytest.raises(InputError, match="joins 2 children, and the schedule has room for 3"):
        compose(cell, params, jnp.zeros((3, H)), placed.schedule)
    with pytest.raises(InputError, match=r"write placed\.schedule"):
        compose(cell, params, jnp.zeros((3, H)), placed)


@each_cell
def test_inputs_of_less_precision_than_the_parameters(name):
    cell = TREE_CELLS[name](H)
    params = cell.init(jax.random.key(0), INPUTS[name])
    plan = schedule([comb(3)], width=2, arity=cell.arity).schedule
    inputs = jax.random.normal(jax.random.key(1), (3, INPUTS[name]))
    with jax.numpy_dtype_promotion("standard"):
        exact = compose(cell, params, inputs, plan)
        rounded = compose(cell, params, inputs.astype(jnp.bfloat16), plan)
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(rounded), strict=True):
        assert b.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=0.02)


def test_cells_refuse_wrong_sizes():
    for factory in TREE_CELLS.values():
        with pytest.raises(InputError, match="hidden_size must be an integer"):
            factory(0)
    with pytest.raises(InputError, match="input_size must be the hidden_size, 3, got 4"):
        TREE_CELLS["rnn"](3).init(jax.random.key(0), 4)
    plan = schedule([comb(3)], width=2).schedule
    cell = TREE_CELLS["rnn"](3)
    with pytest.raises(InputError, match="take no input"):
        compose(cell, cell.init(jax.random.key(0), 3), jnp.zeros((len(plan.live), 3)), plan)


def test_child_sum_shares_its_parameters_with_the_lstm():
    ours, theirs = (c(5).init(jax.random.key(1), 4) for c in (TREE_CELLS["child_sum"], lstm))
    assert jax.tree.map(np.shape, ours) == jax.tree.map(np.shape, theirs)
