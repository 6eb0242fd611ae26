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
# # The LSTM's variants
#
# Greff et al. (2017) took the LSTM with peepholes (V) apart: no input gate (NIG), no forget gate (NFG),
# no output gate (NOG), no tanh on the input (NIAF) or on the output (NOAF), no peepholes (NP), coupled
# gates $f = 1 - i$ (CIFG), full gate recurrence (FGR). Each is given a random search of its own, and the
# best tenths are compared.
#
# This notebook reads the trials of a run of `experiments.lstm_variants`. With no run named below it
# makes a small one, of two variants and a handful of trials, on chords from a Markov chain: enough to
# see the analysis, not to decide anything.

# %%
import os
import tempfile
from pathlib import Path

from IPython.display import Image

from experiments.lstm_variants import analysis, figures
from experiments.lstm_variants import program as lstm_variants
from seqjax.files.json import read_object

RUN = os.environ.get("SEQJAX_RUN", "")  # of experiments.lstm_variants; empty: a small one
OUT = Path(tempfile.mkdtemp(prefix="odyssey-"))
SMALL = lstm_variants.Config(
    variants="lstm_peephole,lstm_nfg",
    trials=6,
    chunk=6,
    hidden_max=40,
    rate_min=1e-5,
    max_epochs=5,
    workdir=str(OUT / "run"),
)

# %%
if not RUN:
    lstm_variants.run(SMALL)
run = Path(RUN or SMALL.workdir)
ranges = read_object(run / "config.json")
task, variants = analysis.read_trials(run / "trials.jsonl")
print(sum(map(len, variants.values())), "trials of", ", ".join(variants))

# %% [markdown]
# ## The comparison
#
# Fixed before any result was seen: of each variant the best tenth of its trials by *validation* (never
# fewer than 5), their *test* results against V's by Welch's t-test at $p = .05$. "luck" is the
# standard deviation of the best tenth's mean if the whole search were drawn again, by the bootstrap: a
# difference below it says little, whatever $p$ is, because the t-test takes the best tenth as given.

# %%
shares = analysis.variance_shares(task, variants, ranges)
found = analysis.analyse(task, variants, shares)
figures.draw(OUT, found, variants, shares, ranges)
print(analysis.table(found))

# %%
Image(OUT / "variants.png", width=700)

# %% [markdown]
# ## What explains the result
#
# A random forest is fitted to all trials, a function of learning rate, size, noise and momentum that is
# known everywhere. Its variance splits exactly (functional ANOVA) into what each hyperparameter explains
# alone, what each pair explains beyond its two, and the rest:
#
# $$\mathrm{Var}\, f = \sum_i V_i + \sum_{i<j} V_{ij} + \dots$$

# %%
assert shares is not None, "fewer than 8 trials: too few for a forest"
for name, share in shares.alone.items():
    print(f"{name:15} {share:.2f}")
print(f"{'all pairs':15} {sum(shares.pairs.values()):.2f}")
Image(OUT / "shares.png", width=900)

# %% [markdown]
# Every trial, by its learning rate: the rate alone decides most of it, which is why it should be
# searched first, and may be searched with a small network.

# %%
Image(OUT / "learning_rate.png", width=700)
