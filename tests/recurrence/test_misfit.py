"""What does not fit is said in one sentence that names cell, layout and shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import seqjax
from seqjax import InputError, unroll
from seqjax.layers import RNN
from seqjax.recurrence.unroll import unroll_loop, unroll_truncated

CELL, OTHER = seqjax.lstm(4), seqjax.gru(4)
KEY = jax.random.key(0)
PARAMS, XS = CELL.init(KEY, 3), jnp.ones((5, 2, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (CELL, PARAMS, jnp.ones((5, 2, 7))),
            r"params\['w'\] has shape \(3, 16\); for xs .*\(5, 2, 7\)",
        ),
        (("lstm", PARAMS, XS), r"got the name 'lstm': write seqjax.CELLS\['lstm'\]\(64\)"),
        ((seqjax.lstm, PARAMS, XS), r"got lstm itself: call it, as in lstm\(64\)"),
        ((nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0)), PARAMS, XS), "got the Flax module LSTMCell"),
        ((7, PARAMS, XS), r"as seqjax.lstm\(64\) is, got 7"),
        ((CELL, OTHER.init(KEY, 3), XS), "params are of another cell"),
        ((CELL, None, XS), "they have nothing"),
        (
            (CELL, PARAMS, XS, OTHER.initial_state(2)),
            r"GRUState\(h\), this cell's is LSTMState\(h, c\)",
        ),
        (
            (CELL, PARAMS, XS, CELL.initial_state(3)),
            r"has shape \(3, 4\), but \(2, 4\) goes with xs",
        ),
    ],
)
@pytest.mark.parametrize("run", [unroll, unroll_loop])
def test_what_does_not_go_together(run, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)


def test_under_jit_and_in_layers_too():
    with pytest.raises(InputError, match="for xs"):
        jax.jit(lambda p, x: unroll(CELL, p, x))(PARAMS, jnp.ones((5, 2, 7)))
    with pytest.raises(InputError, match=r"takes \[B, T, 3\], batch first"):
        RNN(CELL, 3, rngs=nnx.Rngs(0))(jnp.ones((2, 5, 7)))
    with pytest.raises(InputError, match="for xs"):
        unroll_truncated(CELL, PARAMS, jnp.ones((5, 2, 7)), chunk_length=2)


def test_what_is_no_misfit_is_raised_as_it_was():
    """An error in a cell of one's own stays the error that it is."""

    def step(params, state, x):
        raise TypeError("of the user's own")

    cell = CELL._replace(step=step)
    with pytest.raises(TypeError, match="of the user's own"):
        unroll(cell, PARAMS, XS)


@pytest.mark.parametrize("make", [lambda c, r: RNN(c, 3, rngs=r)])
def test_a_layer_says_what_it_cannot_be_made_of(make):
    with pytest.raises(InputError, match=r"rngs must be flax.nnx.Rngs, as nnx.Rngs\(0\), got 0"):
        make(CELL, 0)
    with pytest.raises(InputError, match="got the name 'lstm'"):
        make("lstm", nnx.Rngs(0))


def test_keys_and_sizes():
    for key in (0, None, "0"):
        with pytest.raises(InputError, match="key must be a PRNG key"):
            CELL.init(key, 10)
    for size in ("3", (5, 3), 0, True, 2.0):
        with pytest.raises(InputError, match="input_size must be an integer"):
            CELL.init(KEY, size)
    with pytest.raises(InputError, match="batch_shape must be a tuple"):
        CELL.initial_state("8")
    with pytest.raises(InputError, match="cells must be a pair"):
        seqjax.bidirectional(CELL, (PARAMS, PARAMS), XS)
    with pytest.raises(InputError, match=r"which is time-major, \[T, B, D\]"):
        unroll(CELL, PARAMS, XS, lengths=[1, 2, 3, 4, 5])


def test_numpy_integers_and_lists_are_taken():
    wide = seqjax.lstm(np.int64(4))
    assert wide.init(KEY, np.int32(3))["w"].shape == (3, 16)
    assert CELL.initial_state(8).h.shape == (8, 4)
    assert CELL.initial_state(np.int64(8)).h.shape == (8, 4)
    assert CELL.initial_state([2, 3]).h.shape == (2, 3, 4)
    assert CELL.initial_state().h.shape == (4,)
    found = unroll(CELL, PARAMS, np.asarray(XS).tolist(), lengths=[5, 3])
    wanted = unroll(CELL, PARAMS, XS, lengths=jnp.array([5, 3]))
    np.testing.assert_array_equal(found[1], wanted[1])
