"""The theory the experiment states, and one tiny run of the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.vanishing_gradient import program, theory, training
from seqjax import InputError
from seqjax.files.json import read_object


def test_linear_gains_are_powers_and_the_sheared_matrix_rises_then_vanishes():
    found = theory.linear_theory(150)
    assert found["largest_error_of_log"] < 1e-3
    sheared = found["sheared"]
    assert sheared["largest_singular_value"] > 2
    assert sheared["spectral_radius"] == pytest.approx(0.9, rel=1e-5)
    # [[r, m], [0, r]]^t has the corner t·m·r^(t-1), which is largest near t = -1 / log r = 9.5.
    assert sheared["peak_lag"] in (9, 10)
    assert sheared["peak"] == pytest.approx(9.5 * 2 * 0.9**8.5, rel=0.02)
    assert sheared["end"] < 1e-4


def test_a_small_singular_value_suffices_and_is_not_needed():
    found = theory.small_singular_values_suffice(draws=20, size=6, steps=100)
    assert found["above_the_bound"] == 0
    assert found["vanished_with_large"] > 0


def test_a_relu_network_explodes_without_an_eigenvalue():
    found = theory.explodes_with_zero_eigenvalues()
    assert found["spectral_radius"] < 1e-3
    assert found["growth_per_step"] == pytest.approx(2, rel=1e-5)


def test_scalar_examples():
    curves = theory.scalar_decays(100)
    lags = np.arange(1, 101)
    for name, factor in (("rnn 0.5", 0.5), ("lstm 0.99", 0.99), ("lstm 0.9", 0.9)):
        np.testing.assert_allclose(curves[name], lags * np.log(factor), rtol=1e-4)
    assert program.first_below(curves["rnn 0.5"], 2**-23.5) == 24
    flip = theory.lstm_flip()
    assert flip["new_c"] == pytest.approx(0.1 * 0.9 + 0.9 * -0.9, rel=1e-5)
    kept, replaced = (case["new_h"] for case in theory.gru_cases())
    assert kept == pytest.approx(0.9 * 0.8 + 0.1 * -0.5, rel=1e-5)
    assert replaced == pytest.approx(0.1 * 0.8 + 0.9 * -0.5, rel=1e-5)


def test_episodes_show_the_symbol_once_at_its_lag():
    lags = jnp.array([1, 3, 7, 7])
    xs, symbols = training.episodes(jax.random.key(0), lags, 7)
    assert xs.shape == (7, 4, 8)
    np.testing.assert_array_equal(xs.sum(-1), 1)
    for row, lag in enumerate(lags):
        (shown,) = np.flatnonzero(xs[:, row, : training.SYMBOLS].sum(-1))
        assert shown == 7 - lag
        assert xs[shown, row].argmax() == symbols[row]


@pytest.mark.long
def test_tiny_run_writes_its_results_and_resumes_to_the_same(tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(training.FAMILIES, "lstm")
    monkeypatch.delitem(training.FAMILIES, "gru")
    sizes = {"hidden_size": 3, "max_lag": 3, "batch_size": 2, "updates": 2, "seeds": 2}
    config = program.Config(
        **sizes, measured_steps=5, rows=2, theory_steps=20, workdir=str(tmp_path / "run")
    )
    program.run(config)
    printed = capsys.readouterr().out
    assert "about 7; about 20" in printed
    assert "ReLU, identity" in printed
    figures = {path.stem for path in (tmp_path / "run").glob("*.png")}
    assert figures == {
        "linear_theory",
        "scalar_decay",
        "gradient_by_lag",
        "memory_horizon",
        "accuracy_by_lag",
    }
    results = read_object(tmp_path / "run" / "results.json")["results"]
    assert len(results["networks"]) == 4
    for network in results["networks"].values():
        assert network["initial"] != network["trained"]
        assert network["initial"]["log_norm"][0] == 0
        assert len(network["trained"]["log_norm"]) == 5
        assert len(network["trained"]["accuracy"]) == 3

    lines = (tmp_path / "run" / "families.jsonl").read_text().splitlines()
    (tmp_path / "run" / "families.jsonl").write_text(lines[0] + "\n")
    again = program.Config(**{**vars(config), "resume": True})
    assert program.run(again)["networks"] == results["networks"]


def test_wrong_input_is_named(tmp_path):
    with pytest.raises(InputError, match="--measured_steps must be at least --max_lag, 100, got 5"):
        program.Config(measured_steps=5)
