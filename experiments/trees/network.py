"""How a tree network is trained, and what it says of trees."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from experiments.common.epochs import Lesson
from experiments.trees.batches import TreeBatch, shuffled_groups, stack_batches
from seqjax.models import TreeNetwork
from seqjax.training.modules import merge_model, split_model
from seqjax.training.step import init_train_state, make_train_step, make_train_steps
from seqjax.types import Array, Params, Tree

PREDICTED_AT_ONCE = 50  # trees


class Training(NamedTuple):
    """How long, and with what weight on which term."""

    num_trees: int  # of an epoch
    batch_size: int
    epochs: int
    width: int  # of a wave
    l2: float = (
        0.0  # half of it times the squares of all parameters but the words' vectors is added
    )
    seed: int = 0


def make_lesson(
    model: TreeNetwork,
    optimizer: optax.GradientTransformation,
    trees_of: Callable[[int], Sequence[Tree]],
    training: Training,
    evaluate: Callable[[Params], dict[str, float]],
) -> Lesson:
    """The network's lesson: the cross-entropy of all labelled nodes of a tree, mean over trees.

    Args:
      model: to begin with.
      optimizer: of the parameters.
      trees_of: `epoch -> trees`, as many in each epoch; tokens are ids.
      training: sizes, and the seed of batches and masks.
      evaluate: scores on held-out trees, the first of which chooses the best state.
    """
    split = split_model(model)
    steps_per_epoch = -(-training.num_trees // training.batch_size)

    def loss_fn(params: Params, carry: Any, batch: TreeBatch, key: Array) -> tuple[Array, Any]:
        network = merge_model(split, params)
        logits = network(batch.tokens, batch.schedule, dropout_key=key)
        known = batch.labels >= 0
        labels = jnp.maximum(batch.labels, 0)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        right = (logits.argmax(-1) == labels) & known
        metrics = {
            "loss": jnp.where(known, losses, 0).sum() / known.sum(),
            "accuracy": right.sum() / known.sum(),
        }
        loss = jnp.where(known, losses, 0).sum() / batch.num_trees
        penalised = {name: value for name, value in params.items() if name != "embedding"}
        penalty = 0.5 * training.l2 * optax.tree.norm(penalised, squared=True)
        return loss + penalty, (carry, metrics)

    def batch_at(data: TreeBatch, step: Array) -> TreeBatch:
        place = step % steps_per_epoch
        return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, place, keepdims=False), data)

    def data_of(epoch: int) -> TreeBatch:
        trees, sizes = trees_of(epoch), (training.num_trees, training.batch_size)
        groups = shuffled_groups(*sizes, seed=training.seed, epoch=epoch)
        how = {"arity": model.cell.arity, "width": training.width}
        return jax.device_put(stack_batches(trees, groups, **how)[0])

    steps = make_train_steps(make_train_step(loss_fn, optimizer, training.seed), batch_at)
    state = init_train_state(split.params, optimizer)
    return Lesson(state, steps, data_of, steps_per_epoch, training.epochs, evaluate)


def make_predict(
    model: TreeNetwork, trees: Sequence[Tree], *, width: int
) -> Callable[[Params], list[np.ndarray]]:
    """Builds `predict(params) -> probabilities [N, C] of the nodes of each tree`.

    Args:
      model: whose parameters are given.
      trees: tokens are ids. Trees of similar size share a batch.
      width: of a wave.
    """
    split = split_model(model)
    order = np.argsort([len(tree.tokens) for tree in trees], kind="stable")
    groups = np.split(order, range(PREDICTED_AT_ONCE, len(order), PREDICTED_AT_ONCE))
    halves = [groups[: len(groups) // 2], groups[len(groups) // 2 :]]  # small trees, large trees
    prepared = [
        (part, *stack_batches(trees, part, arity=model.cell.arity, width=width))
        for part in halves
        if part
    ]

    @jax.jit
    def apply(params: Params, batches: TreeBatch) -> Array:
        network = merge_model(split, params)
        return lax.map(lambda b: jax.nn.softmax(network(b.tokens, b.schedule)), batches)

    def predict(params: Params) -> list[np.ndarray]:
        by_number: dict[int, np.ndarray] = {}
        for groups, batches, plans in prepared:
            for group, plan, values in zip(
                groups, plans, np.asarray(apply(params, batches)), strict=True
            ):
                counts = [len(trees[i].tokens) for i in group]
                parts = np.split(values[plan.slots], np.cumsum(counts)[:-1])
                by_number |= dict(zip(group.tolist(), parts, strict=True))
        return [by_number[number] for number in range(len(trees))]

    return predict


def make_optimizer(
    name: str,
    learning_rate: float | optax.Schedule,
    vector_rate: float | optax.Schedule,
    *,
    clip_norm: float = 0.0,
) -> optax.GradientTransformation:
    """Adam or AdaGrad, with a rate of its own for the words' vectors; 0: these stay as they are.

    AdaGrad's sums begin at zero, as those of Duchi et al. (2011) and torch; Optax's would begin at 0.1.
    """
    make = {
        "adam": optax.adam,
        "adagrad": partial(optax.adagrad, initial_accumulator_value=0.0, eps=1e-10),
    }[name]
    vectors = make(vector_rate) if vector_rate else optax.set_to_zero()
    both = optax.multi_transform(
        {"network": make(learning_rate), "vectors": vectors},
        lambda params: {name: _group(name) for name in params},
    )
    return optax.chain(optax.clip_by_global_norm(clip_norm), both) if clip_norm else both


def _group(name: str) -> str:
    return "vectors" if name == "embedding" else "network"


def build(
    cell: Any, vocab_size: int, num_classes: int, embedding_size: int, seed: int, **options: Any
) -> TreeNetwork:
    """A network whose parameters are drawn from a seed; options as of `TreeNetwork`."""
    return TreeNetwork(
        vocab_size, cell, num_classes, embedding_size=embedding_size, rngs=nnx.Rngs(seed), **options
    )
