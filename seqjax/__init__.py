"""seqjax: recurrent networks as pure functions, unrolled by one compiled scan."""

from seqjax import init
from seqjax.cells import (
    CELLS,
    FGRState,
    GRUState,
    LSTMState,
    RNNState,
    Variant,
    gru,
    gru_reset_before,
    irnn,
    lstm,
    lstm_fgr,
    lstm_variant,
    mut1,
    mut2,
    mut3,
    rnn,
    rnn_linear,
    rnn_relu,
)
from seqjax.compose import dense_stack, leaky, residual, stack, time_skip
from seqjax.errors import InputError, RunError
from seqjax.precision import low_precision_products
from seqjax.scan import explain, scan
from seqjax.types import Cell
from seqjax.unroll import bidirectional, unroll, unroll_loop, unroll_truncated

__version__ = "0.1.0"

__all__ = [
    "CELLS",
    "Cell",
    "FGRState",
    "GRUState",
    "InputError",
    "LSTMState",
    "RNNState",
    "RunError",
    "Variant",
    "bidirectional",
    "dense_stack",
    "explain",
    "gru",
    "gru_reset_before",
    "init",
    "irnn",
    "leaky",
    "low_precision_products",
    "lstm",
    "lstm_fgr",
    "lstm_variant",
    "mut1",
    "mut2",
    "mut3",
    "residual",
    "rnn",
    "rnn_linear",
    "rnn_relu",
    "scan",
    "stack",
    "time_skip",
    "unroll",
    "unroll_loop",
    "unroll_truncated",
]
