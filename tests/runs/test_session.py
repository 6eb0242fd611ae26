"""A third model on `fit` and `session`, written out as a program would: it trains, stops, resumes."""

import dataclasses
import re
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from seqjax import InputError, gru
from seqjax.errors import RunError
from seqjax.files.json import read_lines
from seqjax.layers import RNN
from seqjax.runs.session import Session, open_run
from seqjax.runs.stopping import Stopped
from seqjax.training.fit import fit
from seqjax.training.modules import merge_model, split_model, statistics_of
from seqjax.training.step import Carried, init_train_state, make_train_step, make_train_steps
from tests.support.tiers import long_only


@dataclasses.dataclass(frozen=True)
class Config:
    workdir: str
    resume: bool = False
    steps: int = 30
    seed: int = 0
    save_seconds: float = 0.0


class Classifier(nnx.Module):
    """Whether a sequence of tokens has more ones than twos: embedding, cell, mean, linear layer."""

    def __init__(self, rngs):
        self.embedding = nnx.Embed(4, 6, rngs=rngs)
        self.rnn = RNN(gru(8), 6, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.head = nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, tokens, *, training):
        _, ys = self.rnn(self.embedding(tokens))
        pooled = self.norm(ys.mean(1), use_running_average=not training)
        return self.head(self.dropout(pooled, deterministic=not training))


def batch_at(tokens, step):
    """16 rows, a pure function of the step."""
    rows = jax.random.randint(jax.random.fold_in(jax.random.key(7), step), (16,), 0, len(tokens))
    batch = tokens[rows]
    return batch, ((batch == 1).sum(1) > (batch == 2).sum(1)).astype(jnp.int32)


def run(config, log_every=5):
    """The whole program: prepare, loop, report."""
    split = split_model(Classifier(nnx.Rngs(config.seed)))

    def loss_fn(params, carry, batch, key):
        model = merge_model(split, params, carry.statistics, key=key)
        logits = model(batch[0], training=True)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()
        return loss, (carry._replace(statistics=statistics_of(model)), {"loss": loss})

    optimizer = optax.adam(0.02)
    steps = make_train_steps(make_train_step(loss_fn, optimizer, config.seed), batch_at)
    state = init_train_state(split.params, optimizer, Carried((), split.statistics))
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 4, (200, 9)))
    with (
        open_run(config, name="classifier") as workdir,
        Session(workdir, config, state, num_steps=config.steps) as session,
    ):
        state = session.state
        for chunk in fit(steps, state, tokens, num_steps=config.steps, ends=(log_every,)):
            session.log(chunk.step, "train", **chunk.metrics)
            session.keep_best(chunk.state, chunk.metrics["loss"])
            session.save(chunk.state, due=chunk.step % 10 == 0)
            state = chunk.state
        return state, session.best(state)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_parameters_are_what_nnx_calls_so():
    split = split_model(Classifier(nnx.Rngs(0)))
    assert set(split.params) == {"embedding", "rnn", "norm", "head"}
    assert set(split.statistics["norm"]) == {"mean", "var"}
    assert "norm" not in split.streams
    assert "dropout" in split.streams


@pytest.mark.long
def test_a_third_model_trains_and_carries_its_statistics(tmp_path):
    state, best = run(Config(str(tmp_path / "run")))
    losses = [row["loss"] for row in read_lines(tmp_path / "run" / "metrics.jsonl")]
    assert losses[-1] < 0.8 * losses[0]
    assert int(best.step) == 5 * (1 + int(np.argmin(losses)))
    mean = np.asarray(state.carry.statistics["norm"]["mean"])
    assert np.all(mean != 0)  # moved from where it began


def test_dropout_draws_anew_at_every_update():
    split = split_model(Classifier(nnx.Rngs(0)))
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, 4, (3, 9)))

    def logits(key):
        return merge_model(split, split.params, key=key)(tokens, training=True)

    first, again, other = map(logits, map(jax.random.key, (1, 1, 2)))
    same(first, again)
    assert np.any(np.abs(first - other) > 1e-2)


@pytest.mark.whole
def test_a_third_model_stops_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    whole = run(Config(str(tmp_path / "whole")))
    stopped = Config(str(tmp_path / "parts"))
    monkeypatch.setattr(Session, "say", lambda *_: None)
    original = Session.log

    def log_and_stop(self, step, split, **values):
        original(self, step, split, **values)
        if step == 15:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "log", log_and_stop)
        with pytest.raises(Stopped, match=re.escape("step 15 is saved")):
            run(stopped)
    resumed = run(dataclasses.replace(stopped, resume=True))
    same(resumed, whole)
    files = [tmp_path / name / "metrics.jsonl" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_another_run_is_refused(tmp_path):
    config = Config(str(tmp_path / "run"), steps=10)
    run(config)
    with pytest.raises(InputError, match="seed=0, got"):
        run(dataclasses.replace(config, resume=True, seed=1))


@pytest.mark.parametrize(
    "what", [*map(long_only, ("checkpoints", "checkpoints/best")), "checkpoints/last"]
)
def test_the_saved_states_of_another_run_are_refused(what, tmp_path):
    """Copied into the directory of a run with another seed, whose config.json says so."""
    for seed in (0, 1):
        run(Config(str(tmp_path / str(seed)), steps=10, seed=seed))
    (tmp_path / "0" / what).rename(tmp_path / "away")
    (tmp_path / "1" / what).rename(tmp_path / "0" / what)
    with pytest.raises(InputError, match="seed=1, got"):
        run(Config(str(tmp_path / "0"), steps=10, resume=True))


def test_a_run_whose_best_state_is_gone_is_refused(tmp_path):
    """It would end with another one, and say nothing."""
    config = Config(str(tmp_path / "run"), steps=10)
    run(config)
    (tmp_path / "run" / "checkpoints" / "best").rename(tmp_path / "away")
    with pytest.raises(RunError, match=r"the best state, of loss \S+, is no longer in"):
        run(dataclasses.replace(config, resume=True))


def test_a_run_on_other_data_is_refused(tmp_path):
    state = init_train_state({"w": jnp.zeros(2)}, optax.sgd(0.1))
    config = Config(str(tmp_path / "run"))
    for identity, resume in (({"text": "a"}, False), ({"text": "a"}, True), ({}, True)):
        config = dataclasses.replace(config, resume=resume)
        with (
            open_run(config, name="x") as workdir,
            Session(workdir, config, state, num_steps=1, identity=identity) as session,
        ):
            if identity:
                session.save(state, due=True)
    with (
        open_run(config, name="x") as workdir,
        pytest.raises(InputError, match="trained with another text"),
    ):
        Session(workdir, config, state, num_steps=1, identity={"text": "b"})


def test_a_whole_number_is_a_loss_and_the_best_stays_the_best(tmp_path):
    state = init_train_state({"w": jnp.zeros(2)}, optax.sgd(0.1))
    config = Config(str(tmp_path / "run"))
    for loss, resume, best in ((np.float32(1), False, 1), (1, False, 1), (5.0, True, 1)):
        config = dataclasses.replace(config, resume=resume or (tmp_path / "run").exists())
        with (
            open_run(config, name="x") as workdir,
            Session(workdir, config, state, num_steps=1) as session,
        ):
            session.keep_best(state._replace(params={"w": jnp.full(2, loss)}), loss)
            session.save(state, due=True)
            assert session.best_loss == best
            np.testing.assert_array_equal(session.best(state).params["w"], best)


def test_of_two_states_of_equal_loss_the_earlier_one_is_the_best(tmp_path):
    state = init_train_state({"w": jnp.zeros(2)}, optax.sgd(0.1))
    config = Config(str(tmp_path / "run"))
    with (
        open_run(config, name="x") as workdir,
        Session(workdir, config, state, num_steps=2) as session,
    ):
        for step in (1, 2):
            later = state._replace(step=jnp.int32(step), params={"w": jnp.full(2, float(step))})
            session.keep_best(later, 1.0)
        np.testing.assert_array_equal(session.best(state).params["w"], 1)


def test_the_same_config_goes_on_whatever_json_makes_of_it(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Odd(Config):
        limit: float = np.inf
        sizes: tuple = ((1, 2), (3, 4))
        names: dict = dataclasses.field(default_factory=lambda: {"a": (1, 2)})

    for resume in (False, True):
        with open_run(Odd(str(tmp_path / "run"), resume=resume), name="x"):
            pass
    with (
        pytest.raises(InputError, match=r"made with sizes=.*, got sizes=\(\(1, 2\),\)"),
        open_run(Odd(str(tmp_path / "run"), resume=True, sizes=((1, 2),)), name="x"),
    ):
        pass
