"""How fast trees are trained: in batches, one at a time, and by recursion in torch.

    python -m experiments.trees.speed

takes about a minute and prints nodes per second of a gradient of a binary Tree-LSTM, H = 150, D = 50, of 100
random trees of 5 to 35 leaves, about as many nodes as the trees of the Stanford Sentiment Treebank have. The
ways take turns; shown is the median of the turns. Host work (the schedule) counts.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import tables
from seqjax.recurrence.tree import compose, rounded_up, schedule
from seqjax.tree_cells import TREE_CELLS
from seqjax.types import Array, Params

HIDDEN, INPUTS = 150, 50
TREES, LEAST, MOST = 100, 5, 35  # trees, leaves
TURNS = 9

Vectors = list[np.ndarray]


def random_tree(rng: np.random.Generator, leaves: int) -> np.ndarray:
    """A random binary tree `[2 leaves - 1, 2]`: neighbours are joined until one node is left."""
    rows, forest = [[-1, -1] for _ in range(leaves)], list(range(leaves))
    while len(forest) > 1:
        place = int(rng.integers(len(forest) - 1))
        rows.append(forest[place : place + 2])
        forest[place : place + 2] = [len(rows) - 1]
    return np.array(rows)


def draw(rng: np.random.Generator) -> tuple[list[np.ndarray], Vectors]:
    """Trees, and the inputs of their leaves."""
    trees = [random_tree(rng, int(n)) for n in rng.integers(LEAST, MOST + 1, size=TREES)]
    size = [(len(tree) + 1) // 2 for tree in trees]
    return trees, [rng.normal(size=(n, INPUTS)).astype(np.float32) for n in size]


def make_ours() -> tuple[Params, Callable[..., Any]]:
    """Parameters, and `gradient(params, inputs, schedule)` of the sum of all squared outputs."""
    cell = TREE_CELLS["tree_lstm"](HIDDEN)

    def loss(params: Params, inputs: Array, plan: Any) -> Array:
        h = cell.read(compose(cell, params, inputs, plan))
        return jnp.sum(jnp.where(plan.live[:, None], h, 0) ** 2)

    return cell.init(jax.random.key(0), INPUTS), jax.jit(jax.grad(loss))


def gradient_of(
    gradient: Callable[..., Any],
    params: Params,
    trees: list[np.ndarray],
    vectors: Vectors,
    width: int,
    leaves: int,
) -> Params:
    """The gradient of some trees, the schedule made here."""
    plan = schedule(trees, width=width, leaves=leaves).schedule
    num_leaves = len(plan.live) - plan.children.shape[0] * width
    inputs = np.zeros((num_leaves, INPUTS), np.float32)
    values = np.concatenate(vectors)
    inputs[: len(values)] = values  # leaves stand first in these trees, as in the schedule
    return gradient(params, inputs, plan)


def make_torch(params: Params) -> Callable[[list[np.ndarray], Vectors], Params]:
    """The same gradient by recursion over eager tensors."""
    import torch

    torch.set_num_threads(
        1
    )  # its products are of one row: a second thread would only be waited for

    p = {name: torch.tensor(np.asarray(a), requires_grad=True) for name, a in params.items()}

    def visit(tree: list[list[int]], node: int, x: Any, squares: list) -> tuple[Any, Any]:
        first, second = tree[node]
        if first < 0:
            i, _, g, o = (x[node] @ p["w"] + p["b"]).chunk(4)
            c = torch.sigmoid(i) * torch.tanh(g)
        else:
            h_1, c_1 = visit(tree, first, x, squares)
            h_2, c_2 = visit(tree, second, x, squares)
            i, f, g, o = p["b"].chunk(4)
            z_i, z_1, z_2, z_g, z_o = (torch.cat([h_1, h_2]) @ p["u"]).chunk(5)
            c = torch.sigmoid(i + z_i) * torch.tanh(g + z_g)
            c = c + torch.sigmoid(f + z_1) * c_1 + torch.sigmoid(f + z_2) * c_2
            o = o + z_o
        h = torch.sigmoid(o) * torch.tanh(c)
        squares.append((h**2).sum())
        return h, c

    def gradient(trees: list[np.ndarray], vectors: Vectors) -> Params:
        for tensor in p.values():
            tensor.grad = None
        squares: list = []
        for tree, x in zip(trees, vectors, strict=True):
            visit(tree.tolist(), len(tree) - 1, torch.tensor(x), squares)
        torch.stack(squares).sum().backward()
        return {name: np.asarray(tensor.grad) for name, tensor in p.items()}

    return gradient


def ways() -> dict[str, Callable[[list[np.ndarray], Vectors], Params]]:
    """Every way to the gradient of the trees, by name."""
    params, gradient = make_ours()

    def in_batches(size: int, width: int, trees: list[np.ndarray], vectors: Vectors) -> Params:
        leaves = MOST if size == 1 else rounded_up(size * (LEAST + MOST) // 2 + 60)
        starts = range(0, len(trees), size)
        parts = [
            gradient_of(gradient, params, trees[i : i + size], vectors[i : i + size], width, leaves)
            for i in starts
        ]
        return jax.tree.map(lambda *grads: sum(grads), *parts)

    return {
        "100 trees at once, in waves of 128 nodes": partial(in_batches, 100, 128),
        "25 at once, in waves of 32": partial(in_batches, 25, 32),
        "one at a time, in waves of 4": partial(in_batches, 1, 4),
        "one at a time, node by node": partial(in_batches, 1, 1),
        "torch, by recursion": make_torch(params),
    }


def main() -> None:
    trees, vectors = draw(np.random.default_rng(0))
    nodes = sum(len(tree) for tree in trees)
    compute = ways()
    first = {name: jax.device_get(way(trees, vectors)) for name, way in compute.items()}
    reference = first["torch, by recursion"]
    for name, gradients in first.items():  # this compiles, too
        for part, value in reference.items():
            np.testing.assert_allclose(
                gradients[part], value, rtol=1e-2, atol=1e-2, err_msg=f"{name}: {part}"
            )
    seconds: dict[str, list[float]] = {name: [] for name in compute}
    for _ in range(TURNS):
        for name, way in compute.items():
            start = time.perf_counter()
            jax.block_until_ready(way(trees, vectors))
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(turns) for name, turns in seconds.items()}
    best = min(medians.values())
    lines = [
        [
            name,
            f"{nodes / m:,.0f}",
            f"{m / best:.1f}",
            f"{min(seconds[name]):.3f} to {max(seconds[name]):.3f}",
        ]
        for name, m in medians.items()
    ]
    head = ["gradient of a Tree-LSTM", "nodes a second", "times the fastest's seconds", "seconds"]
    print(tables.table(head, lines))
    print(f"{nodes:,} nodes of {len(trees)} trees; {TURNS} turns")


if __name__ == "__main__":
    main()
