"""The lecture's four-letter vocabulary [h, e, l, o] learns "hello"."""

import numpy as np
import pytest

from experiments import hello
from seqjax import CELLS
from tests.support.tiers import long_only


@pytest.mark.parametrize(
    "cell",
    [
        c if c in ("rnn", "lstm") else long_only(c)
        for c in sorted(set(CELLS) - {"irnn", "rnn_relu"})
    ],
)
def test_learns_to_spell_hello(cell):
    results = hello.run(hello.Config(cell=cell))
    # Before learning, about ln 4 nats; without memory the two l's cost at least (2 ln 2) / 4.
    assert abs(results.losses[0] - np.log(4)) < 0.15
    assert results.losses[-1] < 0.05
    assert results.spelled == "hello"


def test_without_training_it_does_not_spell():
    assert hello.run(hello.Config(steps=1, learning_rate=1e-6)).spelled != "hello"
