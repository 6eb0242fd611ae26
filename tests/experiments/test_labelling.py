"""What the programs that label share: batches over devices, and flags that exclude one another."""

import jax
import numpy as np
import pytest

from experiments.classify.network import Kind, make_trainee
from experiments.classify.program import Config
from experiments.classify.text import load_text
from seqjax import InputError

SMALL = {"examples": 60, "clauses": 1, "hidden_size": 8, "embedding_size": 8, "batch_size": 6}


@pytest.mark.long
def test_two_devices_train_as_one_does():
    def trained(devices):
        config = Config(**SMALL, devices=devices)
        lesson = make_trainee(config, Kind("both", "mean"), load_text(config), 0).lesson
        state, metrics = lesson.steps(lesson.state, lesson.data_of(0), 10)
        assert len(jax.tree.leaves(state.params)[0].sharding.device_set) == devices
        return jax.device_get((state.params, metrics))

    for one, two in zip(*map(jax.tree.leaves, map(trained, (1, 2))), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 5}, "--batch_size=6 cannot be shared by --devices=5"),
        ({"vectors": "x.npz"}, "give --vectors or --embedding_size, not both"),
    ],
)
def test_flags_that_do_not_go_together(changes, message):
    with pytest.raises(InputError, match=message):
        Config(**SMALL | changes)
