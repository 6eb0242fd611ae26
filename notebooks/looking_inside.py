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
# # Looking inside a character model
#
# What do the units of a character model follow? Karpathy, Johnson and Fei-Fei (2015) found cells that
# could be read: one followed quotes, one the length of a line. They were found by eye; here every unit is
# scored against properties of the text.
#
# This notebook reads a model that `experiments.char_lm` has trained. With no run named below it trains a
# small one for a minute, on the sources of Python's standard library; the default run of
# `experiments.char_lm` takes 3 minutes and shows more. `python -m experiments.look_inside
# --checkpoint=RUN` writes the same as a page in which every unit can be looked at.

# %%
import os
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from IPython.display import Image

from experiments import char_lm
from experiments.common import plots
from experiments.look_inside.model import choose_text, load, mean_bits, read, texts_of
from experiments.look_inside.ranking import rank_units
from experiments.look_inside.text import properties

RUN = os.environ.get("SEQJAX_RUN", "")  # of experiments.char_lm; empty: a small one
DATA = os.environ.get("SEQJAX_DATA_OF_RUN", "")  # the run's --data, if not the standard library
TEXT = os.environ.get("SEQJAX_TEXT", "")  # a text file; empty: what the run was validated on
CHARS = 10_000  # characters that are read
OUT = Path(tempfile.mkdtemp(prefix="looking_inside-"))
SMALL = char_lm.Config(
    hidden_size=96,
    steps=500,
    max_chars=2_000_000,
    ngram_order=0,
    sample_every=0,
    workdir=str(OUT / "run"),
)

# %%
if not RUN:
    char_lm.run(SMALL)
loaded = load(RUN or SMALL.workdir)
text = choose_text(TEXT, loaded, texts_of(loaded, DATA), CHARS)
ids = loaded.vocabulary.encode(text).ids
reading = read(loaded.model, ids)
bits = mean_bits(reading.log_probs, ids)
print(f"{len(text):,} characters at {bits:.3f} bits each")

# %% [markdown]
# ## Which unit follows what
#
# For a property that holds or does not, the score is the AUC: the probability that the unit is higher
# where it holds than where it does not (1/2 says nothing; the sign is chosen on the first half of the
# text, the score taken on the second). For one of degrees it is the rank correlation. The best of many
# units scores well by chance alone: "chance" is the best score against the property moved along the text.

# %%
units = [
    (f"{name}{unit} of layer {layer + 1}", quantities[name][:, unit])
    for layer, quantities in enumerate(reading.layers)
    for name in ("h", "c")
    if name in quantities
    for unit in range(quantities[name].shape[1])
]
found = properties(text)
ranking = rank_units(np.stack([values for _, values in units], axis=1), found)
in_order = sorted(
    ranking,
    key=lambda name: (not ranking[name].graded, ranking[name].scores[0].score),
    reverse=True,
)
for name in in_order:
    best = ranking[name].scores[0]
    kind = "rank correlation" if ranking[name].graded else "AUC"
    sign = "+" if best.sign > 0 else "-"
    print(
        f"{name:21} {kind:16} {best.score:.3f}  (chance {ranking[name].chance:.3f})"
        f"  {sign}{units[best.unit][0]}"
    )

# %% [markdown]
# ## The clearest unit on a piece of text
#
# Of the properties that hold in quotes, comments, brackets and so on, the one whose best unit is the
# clearest; the piece of text is the one where the property comes and goes most. Purple is where
# the unit is below its median, orange above; letters are bold where the property holds.

# %%
clearest = in_order[0]
best = ranking[clearest].scores[0]
unit_name, activation = units[best.unit]
holds = found[clearest].values
WIDTH, LINES = 80, 18
starts = [0]  # of the lines, a long one broken
for i, character in enumerate(text):
    if character == "\n" or i + 1 - starts[-1] == WIDTH:
        starts.append(i + 1)
starts.append(len(text))
changes = [np.var(holds[a:b]) for a, b in zip(starts, starts[LINES:] or starts[-1:], strict=False)]
lines = starts[int(np.argmax(changes)) :][: LINES + 1]
centred = (activation - np.median(activation)) / np.std(activation)
grid = np.full((LINES, WIDTH), np.nan)
for y, (a, b) in enumerate(pairwise(lines)):
    grid[y, : b - a] = centred[a:b]
with plots.panels(OUT / "text.png") as (axes,):
    axes.figure.set_size_inches(10, 4.4)
    axes.imshow(grid, cmap="PuOr_r", vmin=-4, vmax=4, aspect="auto")
    for y, (a, b) in enumerate(pairwise(lines)):
        for i in range(a, b):
            weight = "bold" if holds[i] else "normal"
            style = {"family": "monospace", "fontsize": 9, "weight": weight}
            if text[i].isprintable():
                axes.text(i - a, y, text[i], ha="center", va="center", parse_math=False, **style)
    axes.set_axis_off()
    axes.set_title(f"{unit_name} and {clearest!r} (held-out AUC {best.score:.3f})")
Image(OUT / "text.png", width=900)

# %% [markdown]
# ## How saturated the gates are
#
# For every unit the share of characters at which a gate is shut (below 0.1) or open (above 0.9), as the
# paper's figure 3. A forget gate in the upper left corner is a cell that keeps what it has; on the
# dotted line a gate is always either shut or open; at the origin it is never saturated.

# %%
saturation = reading.saturation[0]
with plots.panels(OUT / "saturation.png", max(1, len(saturation))) as all_axes:
    for i, (axes, (gate, (below, above))) in enumerate(
        zip(all_axes, saturation.items(), strict=False)
    ):
        axes.plot(below, above, "osD"[i % 3], color=plots.COLOURS[i], ms=4, alpha=0.6)
        axes.plot([0, 1], [1, 0], ":", color="0.5", linewidth=1)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        plots.label(
            axes,
            xlabel="share of time shut (below 0.1)",
            ylabel="share of time open (above 0.9)",
            title=f"gate {gate}, first layer",
        )
Image(OUT / "saturation.png", width=900)
