"""LSTM, GRU and RNN equal torch in float64: values, final states and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import CELLS, unroll
from seqjax.interop import Layers, to_torch
from tests.support.randomness import problem

torch = pytest.importorskip("torch")

MODULES = {
    "lstm": lambda d, h: torch.nn.LSTM(d, h),
    "gru": lambda d, h: torch.nn.GRU(d, h),
    "rnn": lambda d, h: torch.nn.RNN(d, h),
    "rnn_relu": lambda d, h: torch.nn.RNN(d, h, nonlinearity="relu"),
}


def load(module, name, params):
    weights = to_torch(Layers(name, ((params,),)))
    module.load_state_dict({key: torch.tensor(value) for key, value in weights.items()})


@pytest.mark.parametrize("name", MODULES)
def test_equals_torch(name):
    with jax.enable_x64(True):
        cell = CELLS[name](5)
        params, state, xs = problem(cell, steps=6, dtype=np.float64)
        weights = np.random.default_rng(7).normal(size=(6, 3, 5))

        def loss(params, state, xs):
            final_state, ys = unroll(cell, params, xs, state)
            return jnp.sum(ys * weights) + sum(jnp.sum(s**2) for s in final_state), ys

        (_, ys), grads = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(params, state, xs)

    module = MODULES[name](4, 5).double()
    load(module, name, params)
    torch_state = [torch.tensor(s[None], requires_grad=True) for s in state]
    torch_xs = torch.tensor(xs, requires_grad=True)
    hx = tuple(torch_state) if name == "lstm" else torch_state[0]
    torch_ys, final = module(torch_xs, hx)
    finals = final if name == "lstm" else (final,)
    ((torch_ys * torch.tensor(weights)).sum() + sum((s**2).sum() for s in finals)).backward()

    def close(a, b):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-11, atol=1e-12)

    close(ys, torch_ys.detach())
    close(grads[0]["w"], module.weight_ih_l0.grad.T)
    close(grads[0]["u"], module.weight_hh_l0.grad.T)
    close(grads[0]["b"], module.bias_ih_l0.grad)
    if name == "gru":
        close(grads[0]["b_hn"], module.bias_hh_l0.grad[-5:])
    for grad, s in zip(grads[1], torch_state, strict=True):
        close(grad, s.grad[0])
    close(grads[2], torch_xs.grad)
