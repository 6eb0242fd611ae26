"""The study of what is parallel in time: rows that say what happened, ways that fit a cell, equal sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.parallel_in_time import Config, copying, iterations, program, run, speed
from seqjax import CELLS, InputError
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
    counts = [copying._count(name, copying.size_of(name)) for name in program.COPIED]
    assert max(counts) / min(counts) < 1.1


@pytest.mark.parametrize("parts", ["iterations", long_only("iterations,speed,copying")])
def test_leaves_a_table_and_a_figure(tmp_path, monkeypatch, parts):
    monkeypatch.setattr(program, "NEWTON", ("para_gru",))
    monkeypatch.setattr(program, "TRAINED", ())
    small = {"copied": "min_gru", "copy_length": 4, "copy_symbols": 2, "copy_steps": 2}
    sizes = {"lengths": "4", "timed": "min_gru", "hidden_size": 4, "calls": 1, "copy_batch": 2}
    results = run(Config(workdir=str(tmp_path / "run"), parts=parts, **small, **sizes))
    assert {"table.txt", "results.json", "iterations.png", "rows.jsonl"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    if parts != "iterations":
        assert set(results["speed"]) == {"min_gru, T = 4"}
        assert 0 <= results["copying"]["min_gru"]["accuracy"] <= 1
    with pytest.raises(InputError, match="--parts"):
        Config(parts="all")
