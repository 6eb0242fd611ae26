"""Signals at every moment between two steps: what a stopped run says is saved, is saved."""

import re
import signal
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from experiments import char_lm, word_lm
from experiments.lstm_variants.search import keeper
from seqjax.runs.checkpoint import Checkpoints
from seqjax.runs.stopping import Stopped, Stopper

SMALL = {"hidden_size": 4, "layers": 1, "seq_len": 8, "batch_size": 4}
PROGRAMS = {
    "char_lm": (
        char_lm.run,
        char_lm.Config(**SMALL, steps=40, eval_every=20, save_every=0, ngram_order=1),
    ),
    "word_lm": (word_lm.run, word_lm.Config(**SMALL, epochs=2, max_vocabulary=8)),
}


class Counted(NamedTuple):
    step: jax.Array


class Late(Stopper):
    """A signal that comes just after so many looks have found none."""

    looks: int

    @property
    def requested(self):
        self.looks -= 1
        return signal.SIGTERM if self.looks < 0 else None

    @requested.setter
    def requested(self, value):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_is_a_wish_and_a_second_ctrl_c_an_order(number):
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with Stopper() as stopper:
            signal.raise_signal(number)
            assert stopper.requested == number
            with pytest.raises(Stopped, match=rf"^stopped by {number.name}; ") as caught:
                stopper.check()
            assert caught.value.code == 128 + number
            if number == signal.SIGINT:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_nohup_has_ignored_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Stopper() as stopper:
            signal.raise_signal(number)
            assert stopper.requested is None
    finally:
        signal.signal(number, before)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat.\n" * 60)
    return str(path)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("looks", [1, 2])
def test_a_signal_after_the_look_waits_for_the_next_one(
    program, looks, text, tmp_path, monkeypatch
):
    run, config = PROGRAMS[program]
    fields = vars(config) | {"data": text, "workdir": str(tmp_path / "run")}
    monkeypatch.setattr("seqjax.runs.session.Stopper", type("L", (Late,), {"looks": looks}))
    with pytest.raises(Stopped, match=r"^stopped by SIGTERM; step \d+ is saved; ") as caught:
        run(type(config)(**fields))
    assert caught.value.code == 128 + signal.SIGTERM
    step = int(re.search(r"step (\d+)", str(caught.value))[1])
    assert Checkpoints(tmp_path / "run" / "checkpoints" / "last").steps()[-1] == step


def test_a_population_is_saved_before_its_run_stops(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    stopper = type("L", (Late,), {"looks": 1})()
    after_epoch = keeper("chunk", checkpoints, stopper, save_seconds=100)
    after_epoch(Counted(jnp.int32(3)))
    assert not checkpoints.exists()
    with pytest.raises(Stopped):
        after_epoch(Counted(jnp.int32(4)))
    assert checkpoints.steps() == [4]
    checkpoints.close()
