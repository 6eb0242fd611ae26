"""How the cells of a comparison are trained: the protocol, against a plain loop."""

import json
import math

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.architectures.jobs import (
    GRID,
    Job,
    Setting,
    draw_setting,
    job_from_json,
    job_to_json,
)
from experiments.architectures.networks import Shape, make_network, units_that_fit
from experiments.architectures.tasks import Sizes, load
from experiments.architectures.training import (
    Schedule,
    evaluate,
    factor_of,
    first_members,
    next_schedule,
)
from experiments.common.jozefowicz import NETWORKS
from seqjax import CELLS, InputError, init
from seqjax.cells.graphs import GRAPHS
from tests.support.strategies import JSON

SIZES = Sizes(batch_size=3, window=7, updates=4, held_out=2)
SETTINGS = (Setting(1.0, 0.5, 1.0), Setting(2.8, 5.0, 20.0), Setting(0.3, 0.1, 2.5))
JOB = Job("GRU", "arithmetic", SETTINGS, 1500, 2, SIZES, 2, 2, "", 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_most_units_that_fit(name):
    for layers in (1, 3):
        units = units_that_fit(name, layers, 30, 20_000)
        sizes = [
            sum(
                math.prod(leaf.shape)
                for leaf in jax.tree.leaves(
                    jax.eval_shape(
                        make_network(Shape(name, layers, n, 30, True), init.zeros).init,
                        jax.random.key(0),
                    )
                )
            )
            for n in (units, units + 1)
        ]
        assert sizes[0] <= 20_000 < sizes[1]


def test_a_network_has_the_published_parameters():
    """An LSTM: a table, 8 H² weights and 4 H biases, and the last layer."""
    network = make_network(Shape("LSTM", 1, 5, 30, True), init.zeros)
    count = sum(a.size for a in jax.tree.leaves(network.init(jax.random.key(0))))
    assert count == 30 * 5 + 8 * 25 + 4 * 5 + 5 * 30 + 30


def test_too_few_parameters_are_refused():
    with pytest.raises(InputError, match=r"1 in all, has 63 parameters, more than the 60 that"):
        units_that_fit("tanh", 1, 20, 60)


@pytest.mark.parametrize("name", ["MUT1", "MUT2", "MUT3"])
def test_inputs_are_embedded_once(name):
    """MUT1 to 3 as printed, on inputs of the size of the state: the cell with W_e = 1."""
    network = make_network(Shape(name, 1, 4, 9, True), init.uniform(0.7))
    params = network.init(jax.random.key(0))
    assert "w_e" not in params["layers"][0]
    inputs = jnp.array([[3], [8], [0]])
    ((state,), logits) = network.outputs(params, network.initial_state((1,)), inputs)
    cell, own = CELLS[NETWORKS[name]](4), {**params["layers"][0], "w_e": jnp.eye(4)}
    expected = cell.initial_state((1,))
    for t in range(3):
        expected, y = cell.step(own, expected, params["table"][inputs[t]])
        np.testing.assert_allclose(logits[t], y @ params["w"] + params["b"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.h, expected.h, rtol=1e-5, atol=1e-6)


def test_lstm_b_is_the_lstm_with_a_forget_bias_of_one():
    plain, biased = (
        make_network(Shape(name, 1, 4, 9, True), init.uniform(0.7)).init(jax.random.key(0))
        for name in ("LSTM", "LSTM-b")
    )
    difference = biased["layers"][0]["b"] - plain["layers"][0]["b"]
    np.testing.assert_array_equal(difference.reshape(4, 4), [[0] * 4, [1] * 4, [0] * 4, [0] * 4])
    np.testing.assert_array_equal(biased["layers"][0]["w"], plain["layers"][0]["w"])


def trained_alone(job, i):
    """One setting in a plain loop, window by window; the validation accuracy of each epoch."""
    task = load(job.task, job.sizes, job.max_digits, job.data)
    units = units_that_fit(job.network, job.layers, task.vocabulary, job.parameters)
    shape = Shape(job.network, job.layers, units, task.vocabulary, task.carried)
    network, setting = make_network(shape, init.zeros), job.settings[i]
    params = jax.tree.map(lambda a: a[i], first_members(shape, job.settings, job.seed)).params

    @jax.jit
    def update(params, state, inputs, targets, weights):
        def loss(params):
            after, logits = network.outputs(params, state, inputs)
            logs = jax.nn.log_softmax(logits)
            picked = jnp.take_along_axis(logs, targets[..., None], -1)[..., 0]
            return (-(picked * weights).sum() / jnp.maximum(weights.sum(), 1)), after

        grads, after = jax.grad(loss, has_aux=True)(params)
        clip = optax.clip_by_global_norm(setting.max_norm)
        grads, _ = clip.update(grads, clip.init(params))
        return jax.tree.map(lambda p, g: p - setting.rate * g, params, grads), after

    curve = []
    for epoch in range(job.max_epochs):
        state = network.initial_state((job.sizes.batch_size,))
        windows = task.epoch(epoch)
        for n in range(job.sizes.updates):
            params, after = update(params, state, *(leaf[n] for leaf in windows))
            state = after if task.carried else state
        right = asked = 0
        rows = job.sizes.batch_size
        state = network.initial_state((2 * rows,))
        for n in range(job.sizes.held_out):
            after, logits = network.outputs(params, state, task.held_out.inputs[n])
            state = after if task.carried else state
            hits = np.argmax(logits, -1) == task.held_out.targets[n]
            weights = np.asarray(task.held_out.weights[n])
            right += (hits * weights)[:, :rows].sum()
            asked += weights[:, :rows].sum()
        curve.append(float(right / asked))
    return curve


@pytest.mark.parametrize(
    ("network", "task"),
    [
        pytest.param("GRU", "arithmetic", marks=pytest.mark.long),
        pytest.param(GRAPHS["MUT2"], "memorisation", marks=pytest.mark.long),
    ],
)
def test_a_population_is_its_members_trained_alone(network, task):
    """Three settings on two devices, filled up to four."""
    job = JOB._replace(network=network, task=task)
    found = evaluate(job, devices=2)
    for i in range(3):
        np.testing.assert_allclose(found["settings"][i]["curve"], trained_alone(job, i), atol=1e-6)
    assert found == evaluate(job, devices=1)  # a function of the job
    assert json.loads(json.dumps(found)) == found


@pytest.mark.long
def test_a_network_that_diverges_has_its_best_epoch_or_nothing():
    wild = JOB._replace(settings=(Setting(1.0, 1e38, 1e38),), layers=1)
    (found,) = evaluate(wild)["settings"]
    assert found == {"valid": 0.0, "test": 0.0, "curve": [0.0]}


def test_the_rate_falls_after_three_epochs_without_a_gain():
    """Gains: no, no, no -> halved; a gain later does not stop the fall; four halvings, then 0."""
    schedule = Schedule(jnp.float32(-1), jnp.int32(0), jnp.int32(0))
    factors = []
    for valid in (0.5, 0.6, 0.6, 0.55, 0.6, 0.7, 0.6, 0.6, 0.6):
        factors.append(float(factor_of(schedule)))
        schedule = next_schedule(schedule, jnp.float32(valid))
    assert factors == [1, 1, 1, 1, 1, 0.5, 0.25, 0.125, 0.0625]
    assert float(factor_of(schedule)) == 0
    assert float(schedule.best) == np.float32(0.7)


def test_settings_are_of_the_published_grid():
    rng = np.random.default_rng(0)
    drawn = [draw_setting(rng) for _ in range(500)]
    for name, values in GRID.items():
        assert {getattr(setting, name) for setting in drawn} == set(values)


@pytest.mark.parametrize("network", ["MUT3", GRAPHS["LSTM"]])
def test_a_job_is_a_json_record(network):
    job = JOB._replace(network=network)
    assert job_from_json(json.loads(json.dumps(job_to_json(job)))) == job


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "RNN"}, "network is a graph or tanh, .* got 'RNN'"),
        ({"network": {"nodes": [["cos"]], "outputs": [0]}}, "got 'cos'"),
        ({"network": 3}, "a graph is written"),
        ({"task": "sums"}, "task is arithmetic, xml, words, memorisation, got 'sums'"),
        ({"task": []}, r"got \[\]"),
        ({"settings": []}, "at least one"),
        ({"settings": [{"scale": 1.0}]}, "a setting has the fields scale, rate, max_norm"),
        ({"settings": [{"scale": 1.0, "rate": -1, "max_norm": 1}]}, "rate must be a finite"),
        ({"parameters": 0}, "parameters must be"),
        ({"layers": 2.5}, "layers must be"),
        ({"sizes": {}}, "sizes has the fields"),
        ({"max_digits": 12}, "max_digits must be at most 9"),
        ({"seed": -1}, "seed is an integer of at least 0"),
        ({"data": None}, "data is a text"),
        ({"extra": 1}, "a job has the fields"),
    ],
)
def test_what_is_no_job_is_refused_in_one_sentence(change, message):
    with pytest.raises(InputError, match=message):
        job_from_json(job_to_json(JOB) | change)


@hypothesis.given(JSON, hypothesis.strategies.sampled_from([*Job._fields]))
def test_any_json_is_a_job_or_an_input_error(text, field):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    for candidate in (value, job_to_json(JOB) | {field: value}):
        try:
            job_from_json(candidate)
        except InputError:
            continue


@pytest.fixture
def words(tmp_path):
    text = " ".join(f"w{n % 13}" for n in range(400))
    for split, length in (("train", 400), ("valid", 100), ("test", 60)):
        (tmp_path / f"{split}.txt").write_text(" ".join(text.split()[:length]))
    return str(tmp_path)


def test_words_are_read_row_by_row_and_window_by_window(words):
    task = load("words", SIZES, 2, words)
    first, second = task.epoch(0), task.epoch(1)
    rows = np.concatenate([*first.inputs, *second.inputs])  # [steps, B]
    # The text goes round in 13 words, so every next word is known, from window to window too.
    after = np.concatenate([*first.targets, *second.targets])
    np.testing.assert_array_equal(rows[1:], after[:-1])
    assert task.vocabulary == 15  # <unk> and <eos>
    count = 400 // (3 * 7)  # windows in the text
    late = task.epoch(count * 5)  # round the end: a multiple of both
    np.testing.assert_array_equal(late.inputs, first.inputs)
    assert task.held_out.inputs.shape == (2, 7, 6)
    assert np.all(task.held_out.weights == 1)
    longer = load("words", SIZES._replace(held_out=4), 2, words).held_out
    asked = np.asarray(longer.weights).sum(axis=(1))
    np.testing.assert_array_equal(asked[:, :3] > 0, [[True] * 3] * 4)  # 100 words: 4 windows
    np.testing.assert_array_equal(asked[:, 3:] > 0, [[True] * 3] * 2 + [[False] * 3] * 2)


def test_a_text_that_fills_no_window_is_refused(words):
    with pytest.raises(InputError, match=r"test text has 61 words; .* need at least 71"):
        load("words", SIZES._replace(window=10, batch_size=7), 2, words)


def test_sums_are_the_same_for_everyone_and_new_in_every_epoch():
    task, again = (load("arithmetic", SIZES, digits, "") for digits in (2, 2))
    assert task is again
    one, two = task.epoch(0), task.epoch(1)
    assert not np.array_equal(one.inputs, two.inputs)
    np.testing.assert_array_equal(one.inputs[0, 1:], one.targets[0, :-1])
    np.testing.assert_array_equal(one.inputs[1, 0], one.targets[0, -1])  # the stream goes on
