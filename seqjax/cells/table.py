"""Every cell by name. `CELLS` feeds the flags, the conformance tests and the docs."""

from collections.abc import Callable
from functools import partial

from seqjax.cells.gru import gru
from seqjax.cells.gru_reset_before import gru_reset_before
from seqjax.cells.layer_norm import gru_layer_norm, lstm_layer_norm
from seqjax.cells.lstm import lstm
from seqjax.cells.lstm_fgr import lstm_fgr
from seqjax.cells.lstm_variants import ABLATIONS, VARIANTS, lstm_variant
from seqjax.cells.mgu import mgu
from seqjax.cells.mut import mut1, mut2, mut3
from seqjax.cells.orthogonal import cayley_rnn, exp_rnn, householder_rnn
from seqjax.cells.rnn import irnn, rnn, rnn_linear, rnn_relu
from seqjax.cells.urnn import urnn
from seqjax.types import Cell

CELLS: dict[str, Callable[..., Cell]] = {
    "rnn": rnn,
    "rnn_relu": rnn_relu,
    "rnn_linear": rnn_linear,
    "irnn": irnn,
    "lstm": lstm,
    **{
        name: partial(lstm_variant, variant=variant)
        for name, variant in (VARIANTS | ABLATIONS).items()
    },
    "lstm_fgr": lstm_fgr,
    "gru": gru,
    "gru_reset_before": gru_reset_before,
    "mgu": mgu,
    "mut1": mut1,
    "mut2": mut2,
    "mut3": mut3,
    "lstm_layer_norm": lstm_layer_norm,
    "gru_layer_norm": gru_layer_norm,
    "exp_rnn": exp_rnn,
    "cayley_rnn": cayley_rnn,
    "householder_rnn": householder_rnn,
    "urnn": urnn,
}
