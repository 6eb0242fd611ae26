# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What is parallel in time
#
# A recurrent network is walked step by step. Must it be? If the new state is $h' = A(x) h + b(x)$, with $A$ a number for each
# unit, all states follow from one associative scan; if $h'$ depends on $h$ unit by unit, Newton's method finds all states at
# once; if units are mixed, it still may, as long as the state forgets. seqjax reads this from the step itself.

# %%
import tempfile
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from IPython.display import Image

import seqjax
from experiments.common.plots import pyplot
from seqjax.fast_scan.scan import scan_with_report

OUT = Path(tempfile.mkdtemp(prefix="parallel-"))
KEY = jax.random.key(0)


def started(name, units=16, features=8):
    """A cell of that name with its parameters."""
    cell = seqjax.CELLS[name](units)
    return cell, cell.init(KEY, features)


# %% [markdown]
# ## What `explain` reads
#
# The last lines say of each part of the state how it depends on itself.

# %%
for name in ("min_gru", "lru", "para_gru", "gru"):
    cell, params = started(name)
    text = str(seqjax.explain(cell.step, params, cell.initial_state(1), jnp.ones((1, 8))))
    kinds = [line for line in text.splitlines() if "state" in line]
    print(name, *kinds, sep="\n  ")

# %% [markdown]
# ## The same numbers
#
# A scan in parallel (in blocks on a CPU, associative elsewhere) in place of 500 steps gives the states of the loop, up to
# rounding.

# %%
xs = jax.random.normal(jax.random.key(1), (500, 2, 8))
differences = {}
for name in ("min_gru", "min_lstm", "lru", "rg_lru", "qrnn"):
    cell, params = started(name)
    _, walked = seqjax.unroll(cell, params, xs, parallel="never")
    _, at_once = seqjax.unroll(cell, params, xs, parallel="associative")
    differences[name] = float(jnp.abs(walked - at_once).max())
    print(f"{name:9} {differences[name]:.1e}")

# %% [markdown]
# ## Newton's method, and where it ends
#
# The GRU mixes its units. With the weights that it starts from, Newton's method needs a handful of iterations for any number of steps.
# With larger ones the state no longer forgets where it began, and the iterations rise, until the sequential loop is what is
# left: seqjax falls back to it and says so.

# %%
cell, params = started("gru")
scales, lengths = (0.5, 1.0, 1.5, 2.0, 3.0), (50, 500)
iterations = np.zeros((len(lengths), len(scales)), int)
fell_back = np.zeros_like(iterations, bool)
for i, steps in enumerate(lengths):
    solve = jax.jit(partial(scan_with_report, cell.step, batch_axes=1))
    for j, scale in enumerate(scales):
        larger = params | {"u": scale * params["u"]}
        *_, report = solve(larger, cell.initial_state(1), xs[:steps, :1])
        iterations[i, j] = int(np.max(report.iterations))
        fell_back[i, j] = bool(np.any(report.fell_back))
        print(f"T = {steps}, scale {scale}: {iterations[i, j]} iterations", fell_back[i, j])

# %%
plt = pyplot()
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for steps, counts in zip(lengths, iterations, strict=True):
    axes.plot(scales, counts, marker="o", label=f"T = {steps}")
axes.set(xlabel="scale of the recurrent weights", ylabel="iterations")
axes.legend(title="steps")
figure.savefig(OUT / "iterations.png", dpi=110)
plt.close(figure)
Image(OUT / "iterations.png", width=700)

# %% [markdown]
# `experiments.parallel_in_time` measures this for more cells, before and after training, with Lyapunov exponents beside, and the times and
# the memory of each way.
