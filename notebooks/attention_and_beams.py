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
# # Attention and beams, looked at
#
# An encoder-decoder with attention reads a date as people write it and writes it as ISO 8601. What does it look at while it
# writes, and which other answers does it hold in its beam?
#
# This notebook reads a run of `experiments.translate`; with none named below it trains a small network on dates.

# %%
import os
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from IPython.display import Image

from experiments.common.plots import pyplot
from experiments.translate import program as translate
from experiments.translate.decoding import make_weights, search
from experiments.translate.network import lengths_of
from experiments.translate.saved import load_translator
from seqjax.data.tokens import START, decode, encode
from seqjax.training.modules import split_model

RUN = os.environ.get("SEQJAX_RUN", "")  # of experiments.translate; empty: a small one
LINE = os.environ.get("SEQJAX_LINE", "wednesday, 3 march 1999")  # what is translated
OUT = Path(tempfile.mkdtemp(prefix="attention-"))
SMALL = translate.Config(
    data="dates", attention="additive", examples=4000, epochs=4, workdir=str(OUT / "run")
)

# %%
if not RUN:
    translate.run(SMALL)
translator = load_translator(RUN or SMALL.workdir)
model, longest = translator.model, translator.config.max_length
(ids,) = encode(translator.source, [LINE])
source = np.zeros((1, longest), np.int32)
source[0, : len(ids)] = ids
print(len(ids), "tokens:", [translator.source.id_to_token(int(i)) for i in ids])

# %% [markdown]
# ## Five hypotheses
#
# A beam keeps the five most probable beginnings at every step. Each finished hypothesis has the log-probability that the network
# gives it as a whole: the same number that teacher forcing would give. How much of the probability is the best one's?

# %%
beams = search(model, jnp.asarray(source), lengths_of(jnp.asarray(source)), width=5, length=longest)
hypotheses = [
    (decode(translator.target, tokens[: int(length)]), float(log_prob))
    for tokens, length, log_prob in zip(
        beams.tokens[0], beams.lengths[0], beams.log_probs[0], strict=True
    )
]
for text, log_prob in hypotheses:
    print(f"{np.exp(log_prob):8.4f}  {text}")

# %% [markdown]
# ## What was read for each written token
#
# A row is a written token, a column a read one; a row adds up to 1. Where the order of two languages differs, the dark squares leave the
# diagonal: the year stands last in the text and first in the answer.

# %%
best = np.asarray(beams.tokens[0, 0][: int(beams.lengths[0, 0])])
read = make_weights(model)(
    split_model(model).params, jnp.asarray(ids), jnp.asarray([START, *best[:-1]])
)
weights = np.asarray(read)
plt = pyplot()
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
axes.imshow(weights, cmap="Greys", vmin=0, vmax=1, aspect="auto")
axes.set_xticks(range(len(ids)), [translator.source.id_to_token(int(i)) for i in ids])
axes.set_yticks(range(len(best)), [translator.target.id_to_token(int(i)) for i in best])
axes.set(xlabel="read", ylabel="written")
figure.savefig(OUT / "weights.png", dpi=110)
plt.close(figure)
Image(OUT / "weights.png", width=800)

# %% [markdown]
# ## Wider beams
#
# The best score can only rise with the width, until nothing better is left to be found. On dates, greedy decoding has found the best
# nearly always; on a language it has not (`docs/translation.md` has BLEU against the width).

# %%
for width in (1, 2, 5, 10):
    found = search(
        model, jnp.asarray(source), lengths_of(jnp.asarray(source)), width=width, length=longest
    )
    print(f"width {width:2}: log-probability of the best {float(found.log_probs[0, 0]):.6f}")
