"""seqjax: recurrent networks as pure functions, unrolled by one compiled scan.

The names below are what most programs need. The rest is in packages, `seqjax.models`,
`seqjax.training` and so on, each of which is imported when it is first named, so that
`import seqjax` takes no longer than `import jax`.
"""

import importlib
from typing import Any

from seqjax import init
from seqjax.cells import CELLS, FGRState, GRUState, LSTMState, RNNState, Variant
from seqjax.cells.gru import gru
from seqjax.cells.gru_reset_before import gru_reset_before
from seqjax.cells.lstm import lstm
from seqjax.cells.lstm_fgr import lstm_fgr
from seqjax.cells.lstm_variants import lstm_variant
from seqjax.cells.mut import mut1, mut2, mut3
from seqjax.cells.rnn import irnn, rnn, rnn_linear, rnn_relu
from seqjax.errors import InputError, RunError
from seqjax.fast_scan.explain import explain
from seqjax.fast_scan.scan import scan
from seqjax.recurrence.bidirectional import bidirectional
from seqjax.recurrence.unroll import unroll, unroll_loop, unroll_truncated
from seqjax.types import Cell
from seqjax.wrappers import (
    candidate_dropout,
    dense_stack,
    leaky,
    low_precision_products,
    naive_dropout,
    residual,
    stack,
    state_noise,
    time_skip,
    variational_dropout,
    weight_drop,
    zoneout,
)

__version__ = "0.2.0"

_NEEDS = {
    "layers": "flax",
    "models": "flax",
    "losses": "train",
    "runs": "train",
    "training": "train",
}

_PACKAGES = (
    "cells",
    "data",
    "decode",
    "devices",
    "diagnose",
    "files",
    "interop",
    "layers",
    "losses",
    "models",
    "penalties",
    "runs",
    "search",
    "tasks",
    "training",
    "tree_cells",
    "wrappers",
)

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
    "candidate_dropout",
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
    "naive_dropout",
    "residual",
    "rnn",
    "rnn_linear",
    "rnn_relu",
    "scan",
    "stack",
    "state_noise",
    "time_skip",
    "unroll",
    "unroll_loop",
    "unroll_truncated",
    "variational_dropout",
    "weight_drop",
    "zoneout",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        try:
            return importlib.import_module(f"seqjax.{name}")
        except ModuleNotFoundError as error:
            if name not in _NEEDS or str(error.name).startswith("seqjax"):
                raise
            raise ImportError(
                f"seqjax.{name} needs {error.name}: pip install 'seqjax[{_NEEDS[name]}]'."
            ) from error
    if name in CELLS:  # every cell is `seqjax.NAME`, those above and all others
        return CELLS[name]
    raise AttributeError(f"module 'seqjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *CELLS, *_PACKAGES, "__version__"})
