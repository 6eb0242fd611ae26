"""The LSTM and eight variants, each at its best over a random search (Greff et al., 2017)."""

from experiments.lstm_variants.config import Config
from experiments.lstm_variants.program import run

__all__ = ["Config", "run"]
