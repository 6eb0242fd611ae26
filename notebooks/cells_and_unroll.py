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
# # Cells and unroll in ten minutes
#
# A cell is a value: a tuple of pure functions. `unroll` runs any of them over time. Both work in your
# own JAX code, in Flax NNX and in Flax linen, and this notebook does all three.
#
# Letters: T time, B batch, D inputs, H hidden units. Sequences are time-major, `[T, B, D]`.

# %%
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen, nnx

import seqjax
from seqjax import init, layers

T, B, D, H = 20, 8, 5, 16
key = jax.random.key(0)
xs = jax.random.normal(jax.random.fold_in(key, 1), (T, B, D))

# %% [markdown]
# ## A cell
#
# `init` draws parameters, a plain dict of arrays. `initial_state` gives the state before the first
# step. `step` is the paper's equations and nothing else: for the LSTM
#
# $$c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \tanh c_t .$$
#
# There is one bias per gate. A forget bias is an initial value in `b`, not a constant in the step.

# %%
cell = seqjax.lstm(H, bias_init=init.forget_bias(1.0))
params = cell.init(key, D)
state = cell.initial_state((B,))
print({name: array.shape for name, array in params.items()})
print({name: array.shape for name, array in state._asdict().items()})

new_state, y = cell.step(params, state, xs[0])
print("one step:", y.shape)

# %% [markdown]
# `seqjax.CELLS` has every cell by name.

# %%
print(", ".join(seqjax.CELLS))

# %% [markdown]
# ## Unroll
#
# `unroll` gives `(final_state, ys)`, always this pair. It equals a Python loop over `step`.

# %%
final_state, ys = seqjax.unroll(cell, params, xs)

looped, outputs = cell.initial_state((B,)), []
for x in xs:
    looped, y = cell.step(params, looped, x)
    outputs.append(y)
loop_error = float(jnp.abs(ys - jnp.stack(outputs)).max())
print("outputs:", ys.shape, " largest difference from the loop:", loop_error)

# %% [markdown]
# Rows of different lengths: a row's state freezes after its last step, and its later outputs are
# zeros. Whatever stands in the padding, NaN included, changes nothing.

# %%
lengths = jnp.array([20, 1, 5, 0, 12, 7, 20, 3])
padding = jnp.arange(T)[:, None] >= lengths
clean = jnp.where(padding[..., None], 0.0, xs)
dirty = jnp.where(padding[..., None], jnp.nan, xs)
state_clean, ys_clean = seqjax.unroll(cell, params, clean, lengths=lengths)
state_dirty, ys_dirty = seqjax.unroll(cell, params, dirty, lengths=lengths)
padding_error = float(jnp.abs(ys_clean - ys_dirty).max())
print("NaN in the padding changes the outputs by", padding_error)
print("row 3 has length 0; largest output:", float(jnp.abs(ys_dirty[:, 3]).max()))

# %% [markdown]
# ## grad, jit, vmap
#
# Everything is a pure function, so JAX's transformations apply as they are. Here: eight LSTMs from
# eight keys learn, side by side in one compiled program, to give at the last step the sum of the
# first input over all steps, divided by √T so that its variance is 1.

# %%
optimizer = optax.adam(1e-2)


def loss_fn(params, xs):
    _, ys = seqjax.unroll(cell, params["cell"], xs)
    return jnp.mean((ys[-1] @ params["head"] - xs[:, :, :1].sum(0) / T**0.5) ** 2)


def train(key):
    cell_key, head_key, data_key = jax.random.split(key, 3)
    params = {"cell": cell.init(cell_key, D), "head": jax.random.normal(head_key, (H, 1)) / H**0.5}

    def update(carry, key):
        params, opt_state = carry
        xs = jax.random.normal(key, (T, 32, D))
        loss, grads = jax.value_and_grad(loss_fn)(params, xs)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state), loss

    return jax.lax.scan(update, (params, optimizer.init(params)), jax.random.split(data_key, 300))[
        1
    ]


losses = jax.jit(jax.vmap(train))(jax.random.split(key, 8))  # [8, 300]
first_losses, last_losses = losses[:, :20].mean(1), losses[:, -20:].mean(1)
print(
    f"mean squared error, 8 networks: first {first_losses.mean():.2f}, last {last_losses.mean():.2f}"
)
print(f"best {last_losses.min():.3f}, worst {last_losses.max():.3f}; answering 0 gives 1")

# %% [markdown]
# ## Cells from cells
#
# `stack`, `residual` and others take cells and give one. `bidirectional` runs a pair, one forward and
# one backward.

# %%
deep = seqjax.stack(seqjax.gru(H), seqjax.residual(seqjax.gru(H)))
deep_params = deep.init(key, D)
deep_state, deep_ys = seqjax.unroll(deep, deep_params, xs)
print("two layers:", deep_ys.shape)

pair = (seqjax.lstm(H), seqjax.lstm(H))
pair_params = tuple(c.init(jax.random.fold_in(key, i), D) for i, c in enumerate(pair))
_, both_ys = seqjax.bidirectional(pair, pair_params, xs, lengths=lengths)
print("both directions:", both_ys.shape)

# %% [markdown]
# ## Your own cell
#
# The minimal gated unit (Zhou et al., 2016) has one gate:
#
# $$f_t = \sigma(x_t W_f + h_{t-1} U_f + b_f), \quad
#   \tilde h_t = \tanh(x_t W_h + (f_t \odot h_{t-1}) U_h + b_h), \quad
#   h_t = (1 - f_t) \odot h_{t-1} + f_t \odot \tilde h_t .$$


# %%
class MGUState(NamedTuple):
    h: jax.Array


def mgu(size):
    def init(key, input_size):
        w_key, f_key, h_key = jax.random.split(key, 3)
        w = jax.nn.initializers.lecun_normal()(w_key, (input_size, 2 * size))
        u_f, u_h = (jax.nn.initializers.orthogonal()(k, (size, size)) for k in (f_key, h_key))
        return {"w": w, "u_f": u_f, "u_h": u_h, "b": jnp.zeros(2 * size)}

    def step(params, state, x):
        x_f, x_h = jnp.split(x @ params["w"] + params["b"], 2, axis=-1)
        f = jax.nn.sigmoid(x_f + state.h @ params["u_f"])
        h = (1 - f) * state.h + f * jnp.tanh(x_h + (f * state.h) @ params["u_h"])
        return MGUState(h), h

    return seqjax.Cell(
        init, lambda batch_shape=(): MGUState(jnp.zeros((*batch_shape, size))), step, size
    )


my_cell = mgu(H)
my_params = my_cell.init(key, D)
_, my_ys = seqjax.unroll(my_cell, my_params, xs, lengths=lengths)
print("lengths, stacking, reversal come for free:", my_ys.shape)

# %% [markdown]
# Speed comes for free too. `unroll` runs on `seqjax.scan`, which reads the step: what depends on the
# inputs alone leaves the loop (*hoisted*), and weight gradients become one product after it
# (*deferred*). `explain` says what it found. `seqjax.scan` takes any pure step, so a cell need not even
# be a `Cell`.

# %%
explained = seqjax.explain(my_cell.step, my_params, my_cell.initial_state((B,)), xs[0])
print(explained)


def loss_of(scan):
    return lambda params: jnp.sum(scan(params) ** 2)


start = my_cell.initial_state((B,))
ours = jax.grad(loss_of(lambda p: seqjax.scan(my_cell.step, p, start, xs)[1]))(my_params)
plain = jax.grad(loss_of(lambda p: jax.lax.scan(lambda s, x: my_cell.step(p, s, x), start, xs)[1]))(
    my_params
)
gradient_error = max(
    float(jnp.abs(ours[name] - plain[name]).max() / jnp.abs(plain[name]).max()) for name in plain
)
print("\nlargest relative difference of a gradient from lax.scan:", gradient_error)

# %% [markdown]
# ## In Flax NNX
#
# `seqjax.layers.RNN` is a layer over any cell, batch-major `[B, T, D]` as Flax is.

# %%
layer = layers.RNN(my_cell, D, rngs=nnx.Rngs(0))
_, nnx_ys = layer(jnp.swapaxes(xs, 0, 1), lengths=lengths)
print("NNX layer:", nnx_ys.shape)

nnx_grads = nnx.grad(lambda layer: jnp.mean(layer(jnp.swapaxes(xs, 0, 1))[1] ** 2))(layer)
print("gradients:", {path[-1]: leaf.shape for path, leaf in nnx.to_flat_state(nnx_grads)})

# %% [markdown]
# ## In Flax linen
#
# A cell's parameters are a pytree, and linen stores any pytree: `self.param(name, init_function)`.


# %%
class Recurrent(linen.Module):
    cell: seqjax.Cell

    @linen.compact
    def __call__(self, xs, lengths=None):  # [B, T, D] -> [B, T, H]
        params = self.param("cell", self.cell.init, xs.shape[-1])
        _, ys = seqjax.unroll(self.cell, params, jnp.swapaxes(xs, 0, 1), lengths=lengths)
        return jnp.swapaxes(ys, 0, 1)


module = Recurrent(my_cell)
variables = module.init(key, jnp.swapaxes(xs, 0, 1))
linen_ys = jax.jit(module.apply)(variables, jnp.swapaxes(xs, 0, 1))
print("linen module:", linen_ys.shape, jax.tree.map(jnp.shape, variables["params"]))
