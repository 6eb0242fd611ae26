"""Sequential images: the orders, the ceilings of knowing nothing, and that every network trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.sequential_images import in_order
from experiments.pixels import Config, run
from experiments.pixels.networks import NETWORKS, make_layer
from experiments.pixels.tasks import copy, images
from experiments.pixels.training import Way, on_images, trained
from seqjax import InputError
from tests.data.test_idx import write
from tests.support.tiers import long_only


def test_orders_read_every_pixel_once():
    pixels = np.arange(2 * 16, dtype=np.float32).reshape(2, 4, 4)
    permutation = np.random.default_rng(0).permutation(16)
    shapes = {"pixels": (16, 1), "permuted": (16, 1), "rows": (4, 4), "blocks": (4, 4)}
    for order, shape in shapes.items():
        xs = in_order(pixels, order, permutation)
        assert xs.shape == (2, *shape)
        assert sorted(xs[1].ravel()) == list(range(16, 32))
    assert in_order(pixels, "blocks", permutation)[0, 1].tolist() == [2, 3, 6, 7]
    assert in_order(pixels, "permuted", permutation)[0, 0, 0] == permutation[0]


def test_digits_are_split_without_overlap():
    task = images("digits", 8, "rows", seed=0)
    sizes = [len(split.labels) for split in task.splits]
    assert sizes == [1294, 143, 360]
    assert sum(sizes) == 1797
    assert np.asarray(task.splits.train.xs).max() == 1
    train, held_out = (
        {row.tobytes() for row in np.asarray(s.xs)}
        for s in (task.splits.train, task.splits.validation)
    )
    assert not train & held_out


def test_the_best_answer_without_reading_a_string():
    """Blank at all steps but the last ten, then each of eight symbols alike."""
    task = copy(30)
    _, labels, _ = task.draw(jax.random.key(0), 400)
    logits = jnp.where(jnp.arange(9) == 0, 0.0, -1e9)
    guess = jnp.where(jnp.arange(9) == 0, -1e9, 0.0)
    asked = jnp.arange(task.num_steps) >= task.num_steps - 10
    answers = jnp.where(asked[:, None], guess, logits)
    losses = -jax.nn.log_softmax(answers)[jnp.arange(task.num_steps), labels]
    np.testing.assert_allclose(losses.mean(), task.chance, rtol=1e-5)


@pytest.mark.parametrize("name", ["lstm", *map(long_only, sorted({*NETWORKS} - {"lstm"}))])
@pytest.mark.whole
def test_every_network_learns_rows(name):
    task = images("digits", 8, "rows", seed=0)
    layer = make_layer(name, 16, task.input_size, task.num_steps)
    row = trained(layer, task, Way(6, 1, 50, 0.01), np.arange(2))
    assert min(row["accuracy"]) > 0.3
    assert row["curve"][-1][0] < row["curve"][0][0]


@pytest.mark.whole
def test_a_network_that_diverged_has_no_scores():
    task = images("digits", 8, "rows", seed=0)
    layer = make_layer("irnn", 4, task.input_size, task.num_steps)
    row = trained(layer, task, Way(2, 1, 50, 1e38), np.arange(2))
    assert np.isnan([row["accuracy"], row["loss"], row["curve"][1]]).all()


def test_the_last_batch_of_a_test_counts_every_image_once():
    task = images("digits", 8, "rows", seed=0)
    layer = make_layer("lstm", 4, task.input_size, task.num_steps)
    params, _ = layer.init(jax.random.key(0))
    best = {"layer": params, "head": jnp.ones((4, 10)), "bias": jnp.arange(10.0)}, ()
    split = task.splits.train
    loss, accuracy = on_images(layer, task, best, split)
    np.testing.assert_allclose(accuracy, np.mean(np.asarray(split.labels) == 9), rtol=1e-6)
    expected = jax.nn.logsumexp(jnp.arange(10.0)) - split.labels.mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.whole
def test_leaves_a_table_and_a_figure(tmp_path):
    size = {"hidden_size": 4, "epochs": 1, "seeds": 1, "steps": 2, "batch_size": 20}
    config = Config(networks="rnn", task="copy", length=3, workdir=str(tmp_path / "run"), **size)
    results = run(config)
    assert {"table.txt", "results.json", "pixels.png", "networks.jsonl"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    assert results["networks"]["rnn"]["parameters"] == 10 * 4 + 4 * 4 + 4 + 4 * 9 + 9


def test_a_folder_of_images_and_what_does_not_fit(tmp_path):
    for start, count in (("train", 40), ("t10k", 5)):
        pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8)).astype(np.uint8)
        write(tmp_path / f"{start}-images-idx3-ubyte", pixels)
        write(tmp_path / f"{start}-labels-idx1-ubyte", np.zeros(count, np.uint8))
    task = images(str(tmp_path), 4, "pixels", seed=0)
    assert task.splits.train.xs.shape == (36, 16, 1)
    np.testing.assert_allclose(
        task.splits.test.xs[0, 0, 0], np.mean(pixels[0, :2, :2]) / 255, rtol=1e-5
    )
    with pytest.raises(
        InputError, match="images of 8 x 8 cannot be made 3 x 3: give a size that divides both"
    ):
        images(str(tmp_path), 3, "pixels", seed=0)
    with pytest.raises(InputError, match="--batch_size must be at most 36"):
        run(Config(data=str(tmp_path), size=4, batch_size=37, workdir=str(tmp_path / "run")))
    write(tmp_path / "t10k-labels-idx1-ubyte", np.full(5, 10, np.uint8))
    with pytest.raises(InputError, match="must be those of 10 digits, got 10"):
        images(str(tmp_path), 4, "pixels", seed=0)
    with pytest.raises(InputError, match="leave them out with --task=copy"):
        Config(task="copy", order="rows")
    with pytest.raises(InputError, match="--networks"):
        Config(networks="lstm,nothing")
