"""Every cell by name. `CELLS` feeds the flags, the conformance tests and the docs."""

from collections.abc import Callable

from seqjax.cells.gla import gla
from seqjax.cells.gru import gru
from seqjax.cells.gru_reset_before import gru_reset_before
from seqjax.cells.hgrn import hgrn
from seqjax.cells.ind_rnn import ind_rnn
from seqjax.cells.layer_norm import gru_layer_norm, lstm_layer_norm
from seqjax.cells.lru import lru
from seqjax.cells.lstm import lstm
from seqjax.cells.lstm_fgr import lstm_fgr
from seqjax.cells.lstm_variants import ABLATIONS, VARIANTS, named_variant
from seqjax.cells.mamba import mamba
from seqjax.cells.mgu import mgu
from seqjax.cells.min_gru import min_gru
from seqjax.cells.min_lstm import min_lstm
from seqjax.cells.mlstm import mlstm
from seqjax.cells.mut import mut1, mut2, mut3
from seqjax.cells.orthogonal import cayley_rnn, exp_rnn, householder_rnn
from seqjax.cells.para import para_gru, para_lstm
from seqjax.cells.qrnn import qrnn
from seqjax.cells.rg_lru import rg_lru
from seqjax.cells.rnn import irnn, rnn, rnn_linear, rnn_relu
from seqjax.cells.s5 import s5
from seqjax.cells.slstm import slstm
from seqjax.cells.sru import sru
from seqjax.cells.urnn import urnn
from seqjax.types import Cell

CELLS: dict[str, Callable[..., Cell]] = {
    "rnn": rnn,
    "rnn_relu": rnn_relu,
    "rnn_linear": rnn_linear,
    "irnn": irnn,
    "lstm": lstm,
    **{name: named_variant(name) for name in VARIANTS | ABLATIONS},
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
    "lru": lru,
    "s5": s5,
    "min_gru": min_gru,
    "min_lstm": min_lstm,
    "rg_lru": rg_lru,
    "hgrn": hgrn,
    "sru": sru,
    "qrnn": qrnn,
    "ind_rnn": ind_rnn,
    "para_gru": para_gru,
    "para_lstm": para_lstm,
    "mamba": mamba,
    "gla": gla,
    "mlstm": mlstm,
    "slstm": slstm,
}
