"""The search over the LSTM's variants: each trial is an ordinary training run."""

import dataclasses
import json
import shutil
import signal

import jax
import numpy as np
import optax
import pytest

from experiments.lstm_variants import analysis, program, tasks, training
from experiments.lstm_variants.config import Config
from experiments.lstm_variants.trials import BLOCK, chunks_of, in_order
from seqjax import CELLS, InputError, unroll
from seqjax.data.buckets import bucketed
from seqjax.data.sequences import Example, Sequences
from seqjax.data.sets.harmony import harmony
from seqjax.devices.mesh import batch_mesh
from seqjax.runs.stopping import Stopped, Stopper
from tests.support.tiers import long_only

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


@pytest.mark.parametrize("variant", list(map(long_only, ("lstm_peephole", "lstm_fgr"))))
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


@pytest.mark.long
def test_groups_and_devices_change_nothing():
    _, _, alone = trained("lstm_cifg", group=1)
    _, _, found = trained("lstm_cifg", group=2, mesh=batch_mesh(2))
    for a, b in zip(
        jax.tree.leaves(alone.trials.best), jax.tree.leaves(found.trials.best), strict=True
    ):
        np.testing.assert_allclose(a, b[:2], rtol=1e-4, atol=1e-5)


@pytest.mark.long
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


@pytest.mark.long
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


TINY = Config(
    engine="here",
    variants="lstm_peephole",
    trials=8,
    chunk=4,
    max_epochs=2,
    hidden_min=3,
    hidden_max=6,
)


@pytest.fixture
def tiny_task(monkeypatch):
    monkeypatch.setattr(tasks, "load", lambda *args: ONE_LENGTH)


def without_times(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds_per_epoch"} for line in lines]


@pytest.mark.long
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


@pytest.fixture
def stopped_runs(tmp_path, tiny_task, monkeypatch):
    """Configs of two runs that differ in their seed; both saved their first chunk, and stopped."""

    def saves_and_stops(chunk, task, plan, population, hyper, after_epoch):
        signal.raise_signal(signal.SIGTERM)
        after_epoch(population._replace(step=population.step + 1))

    monkeypatch.setattr(training, "train", saves_and_stops)
    configs = [
        dataclasses.replace(TINY, seed=seed, workdir=str(tmp_path / f"run{seed}"))
        for seed in (0, 1)
    ]
    for config in configs:
        with pytest.raises(Stopped):
            program.run(config)
    return configs


def files_below(directory):
    return {p: p.read_bytes() for p in directory.rglob("*") if p.is_file() and p.name != "lock"}


def test_the_saved_population_of_another_run_is_refused(stopped_runs, tmp_path):
    """Copied into the directory of a run with another seed, whose config.json says so."""
    shutil.rmtree(tmp_path / "run0" / "population")
    (tmp_path / "run1" / "population").rename(tmp_path / "run0" / "population")
    before = files_below(tmp_path / "run0" / "population")
    with pytest.raises(InputError, match="population was made with seed=1, got seed=0"):
        program.run(dataclasses.replace(stopped_runs[0], resume=True))
    assert files_below(tmp_path / "run0" / "population") == before


def rows_of(config):
    """The first chunk's rows, as a finished search of this config has them."""
    numbers, chunk = in_order(config)[0]
    rows = zip(numbers, chunk.trials, strict=True)
    return [{"key": f"{chunk.variant}/{n}", "valid": 1.0, **t._asdict()} for n, t in rows]


@pytest.mark.parametrize("differs", ["seed", "task"])
def test_the_trials_of_another_run_are_refused(differs, stopped_runs, tmp_path):
    config = dataclasses.replace(stopped_runs[0], resume=True)
    path = tmp_path / "run0" / "trials.jsonl"
    text = path.read_text()
    if differs == "task":
        text = text.replace("harmony", "music")
    else:
        text += "".join(f"{json.dumps(row)}\n" for row in rows_of(stopped_runs[1]))
    path.write_text(text)
    with pytest.raises(InputError, match=r"trials\.jsonl is of another search"):
        program.run(config)
    assert path.read_text() == text


def test_its_own_trials_are_not(stopped_runs, tmp_path):
    with (tmp_path / "run0" / "trials.jsonl").open("a") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows_of(stopped_runs[0]))
    with pytest.raises(Stopped):  # in the second chunk
        program.run(dataclasses.replace(stopped_runs[0], resume=True))


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
        Config(**wrong)


@pytest.mark.parametrize(("trials", "chunk"), [(70, 8), (33, 5), (8, 8), (64, 40)])
def test_variants_have_about_as_many_trials_at_any_time(trials, chunk):
    """Whole blocks of every variant come before the next block; each trial comes once."""
    config = Config(trials=trials, chunk=chunk, variants="lstm_np,lstm_nig,lstm_peephole")
    work = in_order(config)
    numbers = {name: [] for name in config.names()}
    for some, piece in work:
        assert len({number // BLOCK for number in some}) == 1
        sizes = [trial.hidden_size for trial in piece.trials]
        assert sizes == sorted(sizes)
        assert len(some) <= chunk
        numbers[piece.variant] += some
        blocks = [len(done) // BLOCK for done in numbers.values()]
        assert max(blocks) - min(blocks) <= 1
        done = [len(done) for done in numbers.values()]
        assert max(done) - min(done) <= BLOCK
    assert all(sorted(done) == list(range(trials)) for done in numbers.values())


def test_a_trial_does_not_depend_on_its_chunk():
    """Its hyperparameters and its key follow from the seed, the variant and its number."""
    by_chunk = []
    for chunk in (3, 8):
        chunks = chunks_of(Config(trials=40, chunk=chunk), "lstm_np")
        by_chunk.append(
            {
                number: (piece.trials[i], jax.random.key_data(piece.keys[i]).tolist())
                for numbers, piece in chunks.items()
                for i, number in enumerate(numbers)
            }
        )
    assert by_chunk[0] == by_chunk[1]


def test_music_needs_a_directory():
    with pytest.raises(InputError, match="--task=music needs --data_dir"):
        tasks.load("music", "", 0)
