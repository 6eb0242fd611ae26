"""The ablation: every method trains, evaluation has no noise, strengths are chosen by validation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.common.study_run import open_study
from experiments.regularisation import Config, cost, program, run
from experiments.regularisation.methods import METHODS
from experiments.regularisation.training import Member, evaluate, first_state, one_epoch, trained
from seqjax.errors import InputError
from tests.support.tiers import long_only

SMALL = {"hidden_size": 8, "seq_len": 10, "batch_size": 4, "epochs": 2, "max_chars": 3000}


@pytest.fixture(scope="module")
def text_and_sizes():
    return program.load(Config(**SMALL))


@pytest.mark.parametrize(
    "name", ["variational", *map(long_only, sorted({*METHODS} - {"variational"}))]
)
@pytest.mark.whole
def test_a_method_trains_and_strength_zero_is_no_method(name, text_and_sizes):
    text, sizes = text_and_sizes
    members = Member(jnp.array([0.0, 0.5, 0.5]), jnp.array([0, 0, 1]))
    row = trained(METHODS[name], sizes, text, members)
    assert all(np.isfinite(row[key]).all() for key in ("validation", "test", "train"))
    assert row["train"][1] != row["train"][2]
    if name != "layer_norm":
        plain = trained(
            METHODS["none"], sizes, text, Member(members.strength[:1], members.seed[:1])
        )
        np.testing.assert_allclose(row["validation"][0], plain["validation"][0], rtol=1e-4)


@pytest.mark.whole
def test_what_diverged_has_no_losses_and_the_training_text_is_read_without_noise(text_and_sizes):
    text, sizes = text_and_sizes
    members = Member(jnp.array([0.9]), jnp.array([0]))
    lost = trained(METHODS["none"], sizes._replace(learning_rate=1e38), text, members)
    assert np.isnan([lost["test"], lost["train"]]).all()
    still = trained(METHODS["vertical"], sizes._replace(learning_rate=1e-30), text, members)
    state = first_state(
        METHODS["vertical"], sizes, optax.adam(0.1), jax.tree.map(lambda a: a[0], members)
    )
    again = evaluate(METHODS["vertical"], sizes, state.params, members, text.train)
    np.testing.assert_allclose(still["train"][0], again, rtol=1e-5)


def test_a_table_and_a_figure_of_networks_that_diverged(tmp_path):
    row = {"strength": [0.1] * 2, "validation": [np.inf] * 2, "test": [np.nan] * 2}
    row |= {"train": [np.nan] * 2, "epoch": [0] * 2, "seconds": 1.0}
    good = row | {"validation": [2.0, 2.1], "test": [2.0, np.nan], "train": [1.0, np.nan]}
    config = Config(seeds=2, workdir=str(tmp_path / "run"))
    with open_study("regularisation", config, expect="") as study:
        program.finish(study, {"none": row, "vertical": good})
    table = (tmp_path / "run" / "table.txt").read_text()
    assert "2.000 (1 diverged)" in table
    assert table.count("diverged") >= 3


def test_strengths_are_chosen_by_their_mean_validation_loss():
    row = {
        "strength": [0.1, 0.1, 0.5, 0.5],
        "validation": [2.0, 2.2, 2.1, 2.0],
        "test": [1.0, 1.1, 3.0, 3.1],
        "train": [1.0] * 4,
        "epoch": [1, 2, 3, 4],
        "seconds": 8.0,
    }
    found = program.best_strength(row, 2)
    assert (found["strength"], found["test"], found["epoch"]) == (0.5, [3.0, 3.1], [3.0, 4.0])
    assert found["seconds"] == 2.0


@pytest.mark.whole
def test_leaves_a_table_and_a_figure_and_goes_on(tmp_path, capsys):
    config = Config(**SMALL, methods="none,vertical", seeds=1, workdir=str(tmp_path / "run"))
    results = run(config)
    assert {"table.txt", "results.json", "regularisation.png", "methods.jsonl"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    table = (tmp_path / "run" / "table.txt").read_text()
    assert "vertical" in table
    assert set(results["chosen"]) == {"none", "vertical"}
    with pytest.raises(InputError, match="--methods"):
        Config(methods="none,nothing")


@pytest.mark.long
def test_one_epoch_reads_every_window_once(text_and_sizes):
    text, sizes = text_and_sizes
    optimizer = optax.adam(0.01)
    member = Member(jnp.array(0.0), jnp.array(3))
    method = METHODS["none"]
    state = first_state(method, sizes, optimizer, member)
    after, loss, _ = jax.jit(partial(one_epoch, method, sizes, optimizer))(state, member, text)
    assert int(after.step) == text.train.inputs.shape[1] // sizes.seq_len
    np.testing.assert_allclose(
        loss, evaluate(method, sizes, after.params, member, text.validation), rtol=1e-5
    )


def test_the_lstm_that_costs_are_compared_with_is_one_in_torch_too():
    """The loop is the layer; every way has a gradient of all it uses."""
    torch = pytest.importorskip("torch")
    from experiments.regularisation import torch_cost

    weights, xs = torch_cost.weights_of(6), torch.randn(5, 3, 6)
    own, loop = (torch_cost.WAYS[name](weights, xs) for name in ("none", "none, as a loop"))
    np.testing.assert_allclose(own.detach(), loop.detach(), rtol=1e-4, atol=1e-6)
    for name, call in torch_cost.gradients(6, (5, 3, 6)).items():
        *of_weights, of_xs = call()
        assert torch.isfinite(of_xs).all(), name
        assert sum(g is not None for g in of_weights) == (7 if name == "layer norm" else 4), name


@pytest.mark.long
def test_costs_are_measured_of_every_way(monkeypatch, capsys):
    for name, value in (("ROWS", 2), ("STEPS", 3), ("SIZE", 4), ("CALLS", 1), ("TORCH_CALLS", 1)):
        monkeypatch.setattr(cost, name, value)
    cost.main()
    ours, *theirs = capsys.readouterr().out.split("in torch")
    for name in cost.ways():
        assert f"\n{name} " in ours
        assert all(f"\n{name} " in shown for shown in theirs)


def test_a_method_whose_networks_all_diverged_is_told_so():
    row = {key: [float("nan")] * 4 for key in ("validation", "test", "train")}
    row |= {"strength": [0.1, 0.1, 0.2, 0.2], "epoch": [0] * 4, "seconds": 4.0}
    assert program.best_strength(row, 2)["strength"] == 0.1
