"""The study of what is parallel in time: rows that say what happened, ways that fit a cell, equal sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from experiments.common.sequential_images import Split, load
from experiments.parallel_in_time import (
    Config,
    blocks,
    generation,
    iterations,
    parity,
    pixels,
    program,
    run,
    speed,
)
from experiments.parallel_in_time.counts import counts_of
from seqjax import CELLS, InputError
from seqjax.tasks.parity import running_parity
from tests.support.tiers import long_only


def test_newton_says_where_it_fell_back_and_is_never_far_from_the_loop():
    row = iterations.at_initialisation("rnn", 3.0, (64,), jax.random.key(0))
    calm = iterations.at_initialisation("rnn", 0.5, (64,), jax.random.key(0))
    assert row["iterations"][0] > calm["iterations"][0]
    assert calm["lyapunov"] < row["lyapunov"]
    assert max(*row["error"], *calm["error"]) < 1e-4
    assert not calm["fell_back"][0]


def test_only_ways_that_fit_a_cell_are_timed():
    xs = jnp.ones((20, 2, 4))
    for name, wanted in (("min_gru", "associative"), ("gru", "newton")):
        cell = CELLS[name](4)
        ways = speed.ways_of(cell, cell.init(jax.random.key(0), 4), xs)
        assert set(ways) & {"associative", "newton"} == {wanted}


@pytest.mark.parametrize("name", ["min_gru", *map(long_only, ("lru", "gru"))])
@pytest.mark.long
def test_all_ways_have_one_gradient(name):
    cell = CELLS[name](4)
    params, xs = cell.init(jax.random.key(0), 4), jax.random.normal(jax.random.key(1), (20, 2, 4))
    losses = {
        way: jax.value_and_grad(lambda p, way=way: speed._loss(cell, way, p, xs))(params)
        for way in speed.ways_of(cell, params, xs)
    }
    assert len(losses) >= 3
    for found in losses.values():
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(losses["lax.scan"]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_cells_that_copy_have_about_equal_parameters():
    names = {*program.COPIED, *program.COUNTING, *program.READING}
    counts = [blocks.count(name, blocks.size_of(name), 3) for name in names]
    assert max(counts) / min(counts) < 1.1


def test_counts_of_programs_whose_work_and_depth_are_known():
    """A product, a chain in a loop, what is side by side, and a scan in log T levels."""

    def counts(function, *arguments):
        return counts_of(jax.jit(function).lower(*arguments).compile().as_text())

    a, b = jnp.ones((3, 5)), jnp.ones((5, 7))
    assert counts(jnp.dot, a, b).work == 2 * 3 * 5 * 7
    loop = lambda x: lax.fori_loop(0, 100, lambda _, x: jnp.sin(x) @ a[:, :3], x)  # noqa: E731
    once, often = counts(lambda x: jnp.sin(x) @ a[:, :3], a[:, :3]), counts(loop, a[:, :3])
    assert often.unknown_loops == 0
    assert 100 * once.work <= often.work <= 100 * (once.work + 10)
    assert 100 * once.depth <= often.depth <= 100 * (once.depth + 4)
    xs = jnp.ones((1024, 4))
    chain = counts(lambda xs: lax.scan(lambda c, x: ((y := c * x + 1), y), xs[0], xs), xs)
    levels = counts(lambda xs: lax.associative_scan(jnp.multiply, xs), xs)
    assert chain.depth > 1000 > 100 > levels.depth
    assert levels.work > 0


def test_parity_is_the_sum_of_bits_modulo_two():
    episode = running_parity(jax.random.key(0), 3, 50)
    bits = np.asarray(episode.inputs).argmax(-1)
    np.testing.assert_array_equal(episode.targets, np.add.accumulate(bits) % 2)
    assert 0.3 < bits.mean() < 0.7
    assert episode.weights.all()


@pytest.mark.long
def test_a_nonlinear_state_counts_beyond_its_training_and_a_sum_does_not():
    rows = {
        name: parity.measured(name, jax.random.key(0), num_steps=600)
        for name in ("lstm", "min_gru")
    }
    assert rows["lstm"]["beyond"] > 0.95
    assert rows["min_gru"]["beyond"] < 0.6


def test_generation_says_what_a_state_is():
    row = generation.measured("lstm", jax.random.key(0), lengths=(2, 4), streams=3, size=5, calls=1)
    assert row["state"] == 10
    assert len(row["tokens_per_second"]) == 2
    assert min(row["tokens_per_second"]) > 0


def test_an_image_is_asked_for_at_its_last_pixel():
    xs = jax.random.normal(jax.random.key(0), (3, 5, 1))
    episode = pixels.episode_of(Split(xs, jnp.array([4, 1, 7])))
    np.testing.assert_array_equal(episode.inputs[..., :1], xs.swapaxes(0, 1))
    np.testing.assert_array_equal(episode.targets[-1], [4, 1, 7])
    np.testing.assert_array_equal(episode.weights, np.repeat([[0], [0], [0], [0], [1]], 3, axis=1))


def test_the_first_layer_sees_how_bright_a_pixel_is_and_mamba_answers_at_a_black_one():
    cell = CELLS["mamba"](4)
    params = blocks.init(jax.random.key(0), cell, 1, 2, 10)

    def last(first, final):
        xs = jnp.array([first, 0.3, final]).reshape(1, 3, 1)
        episode = pixels.episode_of(Split(xs, jnp.array([0])))
        return blocks.logits_of(cell, params, episode.inputs)[-1, 0]

    dark, bright, other_end = last(0.2, 0.0), last(0.9, 0.0), last(0.2, 0.5)
    assert np.abs(dark - bright).max() > 1e-5
    assert np.abs(dark - other_end).max() > 1e-3


def test_every_test_image_is_counted_once(monkeypatch):
    """Weights of zero answer class 0: the share of images of class 0, in batches that do not divide them."""
    monkeypatch.setattr(pixels, "TESTED", 100)
    still = lambda cell, params, draw, key, num_steps: (  # noqa: E731
        jax.tree.map(jnp.zeros_like, params),
        jnp.zeros(1),
    )
    monkeypatch.setattr(blocks, "trained", still)
    splits = load("digits", 8, "pixels", 0)
    row = pixels.measured("min_gru", jax.random.key(0), splits=splits, num_steps=1, batch=2)
    np.testing.assert_allclose(row["accuracy"], np.mean(splits.test.labels == 0), rtol=1e-6)


@pytest.mark.parametrize("name", ["lru", "mamba", "mlstm"])
@pytest.mark.long
def test_cells_read_rows_of_digits(name):
    splits = load("digits", 8, "rows", 0)
    row = pixels.measured(name, jax.random.key(0), splits=splits, num_steps=150, batch=50)
    assert row["accuracy"] > 0.6


def test_a_flag_of_a_part_that_is_not_measured_is_refused():
    with pytest.raises(InputError, match="--copy_steps has no use with --parts=parity"):
        Config(parts="parity", copy_steps=3)
    Config(parts="parity,generation", lengths="3,4", parity_steps=3)


def test_a_batch_that_is_too_large_is_named(tmp_path):
    with pytest.raises(InputError, match="--image_batch must be at most 1294"):
        run(Config(parts="pixels", image_batch=2000, workdir=str(tmp_path / "run")))


@pytest.mark.parametrize(
    "parts", ["iterations", long_only("iterations,speed,copying,parity,generation,pixels")]
)
def test_leaves_a_table_and_a_figure(tmp_path, monkeypatch, parts):
    monkeypatch.setattr(program, "NEWTON", ("para_gru",))
    monkeypatch.setattr(program, "TRAINED", ())
    sizes = {"lengths": "4"}
    small = {"copied": "min_gru", "copy_length": 4, "copy_symbols": 2, "copy_steps": 2}
    small |= {"counting": "lstm", "parity_steps": 2, "written": "lstm"}
    small |= {"reading": "lru", "image_steps": 2, "image_batch": 3}
    small |= {"timed": "min_gru", "hidden_size": 4, "calls": 1, "copy_batch": 2}
    if parts != "iterations":
        sizes |= small
    results = run(Config(workdir=str(tmp_path / "run"), parts=parts, **sizes))
    assert {"table.txt", "results.json", "iterations.png", "rows.jsonl"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    if parts != "iterations":
        assert set(results["speed"]) == {"min_gru, T = 4"}
        assert 0 <= results["copying"]["min_gru"]["accuracy"] <= 1
    with pytest.raises(InputError, match="--parts"):
        Config(parts="all")
