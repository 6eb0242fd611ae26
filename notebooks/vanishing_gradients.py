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
# # Vanishing gradients
#
# How far back can a recurrent network learn? Three parts:
#
# 1. the theory, shown live on networks made by hand;
# 2. networks before and after training, from a run of `experiments.vanishing_gradient`;
# 3. one unit that learns to hold one bit, from a run of `experiments.latch`.
#
# With no run named below, parts 2 and 3 make small runs of their own.

# %%
import os
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from IPython.display import Image

import seqjax
from experiments.common import plots
from experiments.latch import program as latch
from experiments.latch import report as latch_report
from experiments.vanishing_gradient import (
    figures as vanishing_gradient_figures,
)
from experiments.vanishing_gradient import (
    program as vanishing_gradient,
)
from seqjax import diagnose, init
from seqjax.files.json import read_object

RUN = os.environ.get("SEQJAX_RUN", "")  # of experiments.vanishing_gradient; empty: a small one
LATCH_RUN = os.environ.get("SEQJAX_LATCH_RUN", "")  # of experiments.latch; empty: a small one
OUT = Path(tempfile.mkdtemp(prefix="vanishing_gradients-"))
SMALL = vanishing_gradient.Config(
    hidden_size=16,
    max_lag=30,
    updates=400,
    seeds=1,
    measured_steps=100,
    workdir=str(OUT / "vanishing_gradient"),
)
SMALL_LATCH = latch.Config(
    lengths="10,30",
    unit_lengths="10",
    runs=40,
    updates=200,
    grid=3,
    grid_runs=6,
    max_guesses=2000,
    workdir=str(OUT / "latch"),
)

# %% [markdown]
# ## 1. The theory
#
# The loss $L$ after step $T$ reaches the state $s_k$ through a product of Jacobians:
#
# $$\frac{\partial L}{\partial s_k} = \frac{\partial L}{\partial s_T}\, J_{T-1} \cdots J_{k+1} J_k,
#   \qquad J_t = \frac{\partial s_{t+1}}{\partial s_t}.$$
#
# Of a linear network with $U = s\,Q$, $Q$ orthogonal, all singular values of the product over $t$
# steps are $s^t$. With tanh, $J_t = \mathrm{diag}(1 - h_t^2)\,U$ (as a map of columns), and
# $1 - h_t^2 \le 1$ can only make them smaller. `diagnose.log_singular_values` gives their logarithms,
# however small or large.

# %%
T, H = 60, 16
xs = 0.3 * jax.random.normal(jax.random.key(1), (T, 4))
lags = np.arange(T, 0, -1)  # row k of the result belongs to the state T - k steps before the end
cell = seqjax.rnn(H)  # U starts orthogonal: all its singular values are 1
params = cell.init(jax.random.key(0), 4)
measure = jax.jit(lambda params: diagnose.log_singular_values(cell, params, xs))  # [T, H], falling
log_sigmas = {}
with plots.panels(OUT / "singular_values.png") as (axes,):
    for i, s in enumerate((0.8, 1.0, 1.3)):
        log_sigmas[s] = np.asarray(measure(params | {"u": s * params["u"]}))
        largest, smallest = np.exp(log_sigmas[s][:, 0]), np.exp(log_sigmas[s][:, -1])
        style = {"color": plots.COLOURS[i], "linestyle": plots.LINES[i]}
        axes.fill_between(lags, smallest, largest, color=plots.COLOURS[i], alpha=0.15, linewidth=0)
        axes.plot(lags, largest, label=f"tanh, s = {s}: largest (band: to smallest)", **style)
        axes.plot(lags[::6], s ** lags[::6].astype(float), "x", color=plots.COLOURS[i])
    axes.plot([], [], "x", color="0.4", label="linear: all of them sᵗ")
    axes.set(yscale="log", ylim=(1e-12, 1e8))
    plots.label(
        axes,
        xlabel="lag t (steps)",
        ylabel="singular values of ∂h/∂h, t steps apart",
        title="Below s = 1 all vanish; above, tanh may hold them back",
    )
    axes.legend(frameon=False, fontsize=9)
Image(OUT / "singular_values.png", width=700)

# %% [markdown]
# $s < 1$ is sufficient to vanish: the largest singular value is never above $s^t$. $s > 1$ is only
# necessary to explode.
#
# An LSTM's cell has another way back. Along $c_t = f_t \odot c_{t-1} + i_t \odot g_t$ the derivative
# is the product of the forget gates, about $f^t$ with $f = \sigma(b_f)$ before training: a forget bias
# of 3 keeps $0.953^{100} = 0.8\,\%$ over a hundred steps, a bias of 0 keeps $0.5^{100} = 8 \cdot 10^{-31}$.
#
# The crosses are that product. The curves are the gradient of the whole state and lie above it: a gate
# is not $\sigma(b_f)$ at every step and in every unit, the norm is that of the units that forget least,
# and there are ways back through $h$ as well. What the bias sets is the slope.

# %%
T = 100
xs = jax.random.normal(jax.random.key(2), (T, 16, 4))  # 16 sequences
lags = np.arange(T, 0, -1)
cell = seqjax.lstm(32)


@jax.jit
def log_gradients(params):  # [T, 16], of the mean of c
    return diagnose.state_gradients(cell, params, xs, lambda state, y: state.c.mean(-1)).log_norm


horizons = {}
with plots.panels(OUT / "forget_bias.png") as (axes,):
    for i, bias in enumerate((0.0, 1.0, 3.0, 5.0)):
        biased = seqjax.lstm(32, bias_init=init.forget_bias(bias))
        log_norm = log_gradients(biased.init(jax.random.key(0), 4))
        horizons[bias] = float(jnp.median(diagnose.memory_horizon(log_norm)))
        measured = np.exp(np.median(log_norm - log_norm[-1], axis=1))
        f = float(jax.nn.sigmoid(bias))
        style = {"color": plots.COLOURS[i], "linestyle": plots.LINES[i]}
        axes.plot(lags, measured, label=f"bias {bias:g}, f about {f:.3f}", **style)
        axes.plot(lags[4::10], f ** (lags[4::10] - 1.0), "x", color=plots.COLOURS[i])
    axes.plot([], [], "x", color="0.4", label="f to the lag")
    axes.axhline(0.01, color="0.45", linewidth=1)
    axes.set(yscale="log", ylim=(1e-12, 10))
    plots.label(
        axes,
        xlabel="lag (steps)",
        ylabel="‖∂L/∂s‖ relative to lag 1",
        title="An untrained LSTM: the forget bias sets how far back a gradient reaches",
    )
    axes.legend(frameon=False, fontsize=9, loc="lower left")
print("memory horizon, steps to 1/100 of the nearest gradient:", horizons)
Image(OUT / "forget_bias.png", width=700)

# %% [markdown]
# ## 2. Before and after training
#
# Networks learn to recall one of four symbols, shown 1 to `max_lag` steps before the end among
# distractors.

# %%
if RUN:
    results = read_object(Path(RUN) / "results.json")["results"]
else:
    results = vanishing_gradient.run(SMALL)
vanishing_gradient_figures.draw(OUT, results)

# %%
for row in results["table"]:
    print(f"{row['statement']:44} {row['published']:32} {row['ours']}")

# %%
Image(OUT / "gradient_by_lag.png", width=900)

# %% [markdown]
# The *memory horizon* is the largest lag up to which the gradient keeps 1/100 of its norm at lag 1.
# Lectures say 7 or 20 steps for a tanh RNN and 100 for an LSTM; here both depend on how they start.

# %%
Image(OUT / "memory_horizon.png", width=700)

# %% [markdown]
# A horizon is not a memory: what a network recalls is another measurement. A state that holds a symbol
# robustly forgets small changes, so its gradient may vanish over lags that the network bridges.

# %%
Image(OUT / "accuracy_by_lag.png", width=700)

# %% [markdown]
# ## 3. One bit
#
# A single unit $x_t = \tanh(w x_{t-1} + u_t)$ holds one bit if $w > 1$: it then has two stable points.
# Bengio, Simard and Frasconi (1994) asked how often gradient descent finds this for $T$ noisy steps.

# %%
if LATCH_RUN:
    bit = read_object(Path(LATCH_RUN) / "results.json")["results"]
else:
    bit = latch.run(SMALL_LATCH)
latch_report.draw(OUT, bit)
Image(OUT / "latch_length.png", width=700)

# %% [markdown]
# Two causes can be told apart: without noise only the vanishing gradient is left; with inputs set by
# hand only flips by noise are.

# %%
Image(OUT / "latch_causes.png", width=900)
