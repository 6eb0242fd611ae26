"""What gradients do on their way back through time, for any cell, under `jit` and on batches.

`jacobians` looks at all directions of the state, `gradients` at the one that a loss takes,
`gates` at what the gates do, `matrices` at the recurrent weights alone.
"""

from seqjax.diagnose.gradients import StateGradients, memory_horizon, state_gradients
from seqjax.diagnose.jacobians import (
    StateJacobians,
    log_singular_values,
    lyapunov_exponents,
    state_jacobians,
    step_jacobians,
    trajectory,
)
from seqjax.diagnose.saturation import Saturation, gate_saturation, gates_of
from seqjax.diagnose.spectra import Spectrum, recurrent_spectra, spectrum

__all__ = [
    "Saturation",
    "Spectrum",
    "StateGradients",
    "StateJacobians",
    "gate_saturation",
    "gates_of",
    "log_singular_values",
    "lyapunov_exponents",
    "memory_horizon",
    "recurrent_spectra",
    "spectrum",
    "state_gradients",
    "state_jacobians",
    "step_jacobians",
    "trajectory",
]
