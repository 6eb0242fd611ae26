"""The search over the LSTM's variants: each trial is an ordinary training run."""

import dataclasses
import json
import math
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import lstm_variants as program
from experiments import lstm_variants_analysis as analysis
from experiments import lstm_variants_tasks as tasks
from experiments import lstm_variants_training as training
from experiments.lstm_variants_fanova import fanova
from seqjax import CELLS, InputError, unroll
from seqjax.data.buckets import bucketed
from seqjax.data.harmony import harmony
from seqjax.data.sequences import Example, Sequences
from seqjax.sharding import batch_mesh
from seqjax.stopping import Stopped, Stopper

SMALL = harmony(0, train=6, valid=3, test=3, steps=9)
TASK = tasks._music(
    SMALL._replace(
        train=[
            e._replace(inputs=e.inputs[:n], targets=e.targets[:n])
            for e, n in zip(SMALL.train, (9, 5, 9, 5, 5, 9), strict=True)
        ]
    ),
    {},
)
ONE_LENGTH = tasks._music(SMALL, {})
TRIALS = [
    training.Trial(5, 3e-2, 0.5, 0.0),
    training.Trial(7, 1e-2, 0.9, 0.5),
]


def trained(variant, trials=TRIALS, mesh=None, group=0, epochs=3):
    keys = jax.random.split(jax.random.key(1), len(TRIALS))[: len(trials)]
    chunk = training.Chunk(variant, trials, keys)
    plan = training.Plan(0, 15, epochs, mesh, group)
    population, hyper = training.begin(chunk, TASK, plan)
    start = population.trials.member[0]
    population, _ = training.train(chunk, TASK, plan, population, hyper, lambda population: None)
    return chunk, start, population


def small(params, size, hidden_size):
    """A network's parameters without the units that are masked."""

    def leaf(a):
        a = np.asarray(a)
        for axis, n in enumerate(a.shape):
            if n != 88 and n % size == 0:
                blocks = np.split(a, n // size, axis)
                a = np.concatenate([np.take(b, range(hidden_size), axis) for b in blocks], axis)
        return a

    return jax.tree.map(leaf, params)


@pytest.mark.parametrize("variant", ["lstm_peephole", "lstm_fgr"])
def test_a_trial_is_the_plain_network_of_its_size_trained_by_hand(variant):
    """Cut out of the population's arrays, and trained by a Python loop with torch's formula."""
    chunk, start, population = trained(variant)
    for i, trial in enumerate(TRIALS):
        cell = CELLS[variant](trial.hidden_size)
        params = small(jax.tree.map(lambda a, i=i: a[i], start), chunk.size, trial.hidden_size)

        def loss(params, xs, ys, cell=cell):
            _, hs = unroll(cell, params["cells"][0], xs)
            logits = hs @ params["head"]["w"] + params["head"]["b"]
            return optax.sigmoid_binary_cross_entropy(logits, ys).sum()

        grad = jax.jit(jax.grad(loss))
        velocity = jax.tree.map(np.zeros_like, params)
        places = bucketed(TASK.sequences.train)
        where = {tuple(place): n for n, place in enumerate(places.places.tolist())}
        lengths = {b: bucket.inputs.shape[1] for b, bucket in enumerate(places.buckets)}
        rate = trial.learning_rate * (1 - trial.momentum)
        for epoch in range(3):
            key = jax.random.fold_in(jax.random.fold_in(chunk.keys[i], 1), epoch)
            for count, place in enumerate(training.order_of(0, epoch, places).tolist()):
                example = TASK.sequences.train[where[tuple(place)]]
                steps = len(example.inputs)
                shape = (lengths[place[0]], 88)
                noise = jax.random.normal(jax.random.fold_in(key, count), shape)[:steps]
                xs = example.inputs.astype(np.float32) + trial.noise * noise
                g = grad(params, xs, example.targets.astype(np.float32))
                velocity = jax.tree.map(lambda v, g, m=trial.momentum: m * v + g, velocity, g)
                params = jax.tree.map(
                    lambda p, v, g, m=trial.momentum, r=rate: p - r * (g + m * v),
                    params,
                    velocity,
                    g,
                )
        found = jax.tree.map(lambda a, i=i: a[i], population.trials.member[0])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
            small(found, chunk.size, trial.hidden_size),
            params,
        )


def test_groups_and_devices_change_nothing():
    _, _, alone = trained("lstm_cifg", group=1)
    _, _, found = trained("lstm_cifg", group=2, mesh=batch_mesh(2))
    for a, b in zip(
        jax.tree.leaves(alone.trials.best), jax.tree.leaves(found.trials.best), strict=True
    ):
        np.testing.assert_allclose(a, b[:2], rtol=1e-4, atol=1e-5)


def test_validation_is_the_mean_over_frames_of_the_clean_pieces():
    chunk, _, population = trained("lstm_np", epochs=1)
    trial = TRIALS[1]
    params = jax.tree.map(lambda a: a[1], population.trials.member[0])
    params = small(params, chunk.size, trial.hidden_size)
    total = frames = 0
    for example in TASK.sequences.valid:
        _, hs = unroll(
            CELLS["lstm_np"](trial.hidden_size),
            params["cells"][0],
            example.inputs.astype(np.float32),
        )
        p = 1 / (
            1 + np.exp(-np.asarray(hs @ params["head"]["w"] + params["head"]["b"], np.float64))
        )
        y = example.targets
        total -= (y * np.log(p) + (1 - y) * np.log(1 - p)).sum()
        frames += len(y)
    np.testing.assert_allclose(population.trials.best_loss[1], total / frames, rtol=1e-4)


def test_both_ways_and_ctc_train():
    """One forward and one backward network under CTC; the loss falls."""
    rng = np.random.default_rng(0)

    def line(labels):
        frames = np.repeat(np.eye(4)[labels], 3, 0) + 0.1 * rng.normal(size=(3 * len(labels), 4))
        return Example(frames.astype(np.float32), np.array(labels, np.int32))

    lines = [line(rng.permutation(4)[:3]) for _ in range(12)]
    sequences = Sequences(lines[:8], lines[8:10], lines[10:], tuple("abcd"))
    task = tasks.Task(sequences, 5, True, tasks.ctc, tasks.wrong_labels, "wrong labels", {})
    trials = [training.Trial(8, 0.2, 0.9, 0.0), training.Trial(5, 0.0, 0.9, 0.0)]
    chunk = training.Chunk("lstm_np", trials, jax.random.split(jax.random.key(0), 2))
    plan = training.Plan(0, 60, 60, None)
    population, hyper = training.begin(chunk, task, plan)
    population, _ = training.train(chunk, task, plan, population, hyper, lambda p: None)
    learned, untouched = training.report(chunk, task, population)
    assert learned["test"] < 0.35 < untouched["test"]


def test_a_network_that_says_nothing_has_no_score():
    """Counts of wrong frames are finite where every logit is NaN; the score must not be."""
    sequences = SMALL._replace(
        **{
            name: [e._replace(targets=np.zeros(len(e.inputs), np.int32)) for e in split]
            for name, split in zip(("train", "valid", "test"), SMALL[:3], strict=True)
        }
    )
    task = tasks.Task(sequences, 3, False, tasks.class_loss, tasks.wrong_frames, "", {})
    network = training.make_network("lstm_np", task, 4)
    params = network.init(jax.random.key(0), 4)
    test = bucketed(sequences.test)
    for factor, finite in ((1.0, True), (np.nan, False)):
        bad = params | {"head": jax.tree.map(lambda a, f=factor: f * a, params["head"])}
        amounts, _ = training.scores(network, task, bad, test)
        assert np.isfinite(amounts).all() == finite


def test_wrong_labels_is_the_edit_distance():
    rng = np.random.default_rng(1)

    def distance(a, b):
        if not a or not b:
            return len(a) + len(b)
        same = a[0] == b[0]
        return min(
            distance(a[1:], b[1:]) + (not same), distance(a[1:], b) + 1, distance(a, b[1:]) + 1
        )

    score = jax.jit(tasks.wrong_labels)
    for _ in range(40):
        best, targets = rng.integers(0, 4, 8), rng.integers(0, 3, 5)
        length, count = rng.integers(0, 9), rng.integers(0, 6)
        said = [
            int(c) for i, c in enumerate(best[:length]) if c < 3 and (i == 0 or c != best[i - 1])
        ]
        wrong, number = score(jnp.eye(4)[best], jnp.asarray(targets), length, count)
        assert number == count
        assert wrong == distance(said, targets[:count].tolist())


def test_shares_of_a_function_that_is_known():
    """y = 3a + b + 4(a - 1/2)(c - 1/2): shares by integration; d does nothing."""
    rng = np.random.default_rng(0)
    x = rng.random((4000, 4))
    y = 3 * x[:, 0] + x[:, 1] + 4 * (x[:, 0] - 0.5) * (x[:, 2] - 0.5)
    parts = np.array([9 / 12, 1 / 12, 16 / 144])
    expected = parts / parts.sum()
    found = fanova("abcd", x, y)
    assert found.alone["a"] == pytest.approx(expected[0], abs=0.05)
    assert found.alone["b"] == pytest.approx(expected[1], abs=0.03)
    assert found.pairs[("a", "c")] == pytest.approx(expected[2], abs=0.04)
    assert found.alone["d"] < 0.01
    surface = found.surfaces[("a", "b")]
    assert surface[-1, -1] > surface[-1, 0] > surface[0, -1] > surface[0, 0]


def rows(tests, valid=None, **more):
    return [
        {"variant": "x", "test": t, "test_by_piece": t, "valid": v, "parameters": 10.0}
        | {"learning_rate": 1e-3, "hidden_size": 50, "noise": 0.5, "momentum": 0.9}
        | {"end": "all rounds", "seconds_per_epoch": 1.0, "epochs": 3, "best_epoch": 2}
        | more
        for t, v in zip(tests, valid or tests, strict=True)
    ]


def test_the_best_tenth_is_chosen_by_validation_and_is_never_fewer_than_five():
    some = rows(range(20), valid=[20 - i for i in range(20)])
    assert [row["test"] for row in analysis.best_tenth(some)] == [19, 18, 17, 16, 15]
    assert len(analysis.best_tenth(rows(range(200)))) == 20
    assert analysis.best_tenth(rows([math.inf] * 9)) == []


def test_welch_tells_a_shift_from_noise():
    rng = np.random.default_rng(0)
    a, b = rng.normal(8.5, 0.1, 200), rng.normal(8.5, 0.1, 200)
    assert analysis.compare(rows(b), rows(a)) > 0.01
    assert analysis.compare(rows(a + 1), rows(a)) < 1e-6
    assert analysis.compare(rows([8.0]), rows(a)) is None


def test_luck_is_the_spread_of_the_best_tenth_over_searches():
    """Of n even draws the k best average (k + 1) / 2 (n + 1); their spread by simulation."""
    rng = np.random.default_rng(0)
    searches = rng.random((400, 60))
    spread = np.sort(searches)[:, :6].mean(1).std()
    found = np.median([analysis.luck(rows(search), 200) for search in searches[:20]])
    assert found == pytest.approx(spread, rel=0.4)
    assert analysis.luck(rows([2.0] * 20)) == 0


def test_scale_is_even_over_what_the_search_draws():
    config = program.Config()
    keys = jax.random.split(jax.random.key(0), 300)
    ranges = dataclasses.asdict(config)
    drawn = [program.draw_trial(config, key)._asdict() for key in keys]
    scaled = np.stack([analysis.unit_scale(row, ranges) for row in drawn])
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    for column in scaled.T:  # Kolmogorov and Smirnov's distance from even
        gaps = np.abs(np.sort(column) - (np.arange(300) + 0.5) / 300)
        assert gaps.max() < 1.7 / 300**0.5


TINY = program.Config(
    variants="lstm_peephole", trials=8, chunk=4, max_epochs=2, hidden_min=3, hidden_max=6
)


@pytest.fixture
def tiny_task(monkeypatch):
    monkeypatch.setattr(tasks, "load", lambda *args: ONE_LENGTH)


def without_times(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds_per_epoch"} for line in lines]


def test_a_stopped_search_goes_on_and_ends_the_same(tmp_path, tiny_task, monkeypatch):
    whole, parts = (
        dataclasses.replace(TINY, workdir=str(tmp_path / name)) for name in ("whole", "parts")
    )
    expected = program.run(whole)
    real, calls = training.report, []

    def killed(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(training, "report", killed)
    with pytest.raises(KeyboardInterrupt):
        program.run(parts)
    found = program.run(dataclasses.replace(parts, resume=True))
    assert without_times(tmp_path / "parts/trials.jsonl") == without_times(
        tmp_path / "whole/trials.jsonl"
    )
    assert found == expected
    for name in ("variants", "learning_rate", "seconds", "shares"):
        assert (tmp_path / f"parts/{name}.png").stat().st_size > 5000
    again = program.run(dataclasses.replace(parts, analyse_only=True))
    assert again == found
    assert set(again["shares"]) == set(analysis.HYPER)


def test_a_chunk_that_was_saved_goes_on_from_there(tmp_path, tiny_task, monkeypatch, long):
    """Stopped after the first epoch of a chunk: the next run does the others only."""
    if not long:
        pytest.skip("the kills of test_faults do it too; with --long")
    config = dataclasses.replace(TINY, variants="lstm_np", trials=3, workdir=str(tmp_path / "run"))
    whole = dataclasses.replace(config, workdir=str(tmp_path / "whole"))
    program.run(whole)

    class Asked(Stopper):
        def __init__(self):
            super().__init__()
            self.requested = signal.SIGTERM

        def check(self, advice=""):
            super().check(advice)

    monkeypatch.setattr(program, "Stopper", Asked)
    with pytest.raises(Stopped):
        program.run(config)
    monkeypatch.undo()
    monkeypatch.setattr(tasks, "load", lambda *args: ONE_LENGTH)
    epochs, real = [], training.train
    monkeypatch.setattr(
        training,
        "train",
        lambda *args: real(*args[:-1], lambda p: (epochs.append(int(p.step)), args[-1](p))),
    )
    program.run(dataclasses.replace(config, resume=True))
    assert epochs == [2]
    assert without_times(tmp_path / "run/trials.jsonl") == without_times(
        tmp_path / "whole/trials.jsonl"
    )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"trials": 0}, "--trials must be an integer of at least 1, got 0"),
        ({"variants": "lstm_x"}, "unknown variant 'lstm_x'; there are lstm_peephole"),
        ({"variants": "lstm_np,lstm_np"}, "names one twice"),
        ({"hidden_min": 300}, "--hidden_min must be at most --hidden_max"),
        ({"rate_min": 0.0}, "--rate_min must be a finite number above 0"),
        ({"momentum_min": 2.0}, "--momentum_min must be at most 1"),
        ({"noise_max": -1.0}, "--noise_max"),
        ({"seed": -1}, "--seed"),
        ({"analyse_only": True}, "need --workdir"),
    ],
)
def test_wrong_flags(wrong, says):
    with pytest.raises(InputError, match=says):
        program.Config(**wrong)


def test_music_needs_a_directory():
    with pytest.raises(InputError, match="--task=music needs --data_dir"):
        tasks.load("music", "", 0)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "holds no trials"),
        ('{"key": "lstm_np/0", "variant": "lstm_np"}\n', "line 1 of .* needs a number under"),
        ("nonsense\n", "line 1 of .* is not valid JSON"),
    ],
)
def test_analysis_of_a_broken_file(tmp_path, line, says):
    (tmp_path / "trials.jsonl").write_text(line)
    with pytest.raises(InputError, match=says):
        analysis.read_trials(tmp_path / "trials.jsonl")
