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
# # The forget bias
#
# A cell of an LSTM keeps a share $f_t$ of its content at every step, so that after $t$ steps the share
# $\prod f$ is left, and a gradient on its way back loses as much. Before training $f \approx \sigma(b)$
# with the forget bias $b$:
#
# | $b$ | 0 | 1 | 2 | 3 | 5 |
# |---|---|---|---|---|---|
# | $\sigma(b)$ | .50 | .73 | .88 | .95 | .993 |
# | left after 20 steps | 1e-6 | 2e-3 | .08 | .38 | .87 |
#
# Gers, Schmidhuber and Cummins (2000) and Jozefowicz, Zaremba and Sutskever (2015) therefore start with
# a bias of 1 or more; Tallec and Ollivier (2018) spread the biases over the lags of the task ("chrono",
# $b = \log u$, $u$ uniform on $[1, T - 1]$).
#
# This notebook reads a run of `experiments.forget_bias`; with none named below it makes a small one.

# %%
import os
import tempfile
from pathlib import Path

from IPython.display import Image

from experiments.forget_bias import program as forget_bias
from experiments.forget_bias import report as forget_bias_report
from seqjax.files.json import read_object

RUN = os.environ.get("SEQJAX_RUN", "")  # of experiments.forget_bias; empty: a small one
OUT = Path(tempfile.mkdtemp(prefix="forget_bias-"))
SMALL = forget_bias.Config(
    biases="-1,0,1,3,chrono",
    networks="GRU",
    rates="0.01",
    length=30,
    updates=500,
    seeds=3,
    workdir=str(OUT / "run"),
)

# %%
if not RUN:
    forget_bias.run(SMALL)
whole = read_object(Path(RUN or SMALL.workdir) / "results.json")
config, results = whole["config"], whole["results"]
table = forget_bias_report.report(OUT, results["units"], results["memory"], f", {config['study']}")
tasks = list(dict.fromkeys(row["task"] for row in results["units"].values()))
print(", ".join(tasks))

# %% [markdown]
# ## Before anything is learnt
#
# The product of an untrained LSTM's forget gates on the task's own inputs, beside $\sigma(b)^t$.

# %%
Image(OUT / "memory.png", width=700)

# %% [markdown]
# ## What is learnt
#
# The score after training against the bias at the start: every dot is a seed, bars are 95 % intervals of
# the mean. A learning rate is a line of its own, because a bias that only seems better at one rate is
# not.

# %%
print(table)
Image(OUT / "bias.png", width=900)

# %% [markdown]
# Learning curves, each at its best rate. What differs is mostly *when* the task is found.

# %%
for name in tasks:
    print(OUT / f"curves_{name.replace(' ', '_')}.png")
Image(OUT / f"curves_{tasks[0].replace(' ', '_')}.png", width=900)

# %% [markdown]
# The networks beside the LSTM.

# %%
Image(OUT / "networks.png", width=900)
