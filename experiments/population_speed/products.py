"""The matrix products of an LSTM's update without its gates and activations.

Their time is about a lower bound for every way of training that makes the same products by XLA. States
and cotangents are whatever the products give; the output layer is complete, with the derivative of its
loss.
"""

from typing import Any

import jax
from jax import lax

from seqjax.types import Array


def products_of(params: Any, xs: Array, ys: Array) -> Any:
    """Arrays shaped like the gradients of an LSTM and a sigmoid layer, from the same products.

    Args:
      params: parameters of `seqjax.lstm` under "cell", and "w" `[H, V]`, "b" `[V]`.
      xs: inputs `[T, B, V]`.
      ys: targets `[T, B, V]`, in [0, 1].
    """
    w, u = params["cell"]["w"], params["cell"]["u"]
    hidden = u.shape[0]
    transposed = lax.optimization_barrier(u.T)  # a product with a transposed operand is slower
    z = xs @ w

    def forward(h: Array, _: None) -> tuple[Array, None]:
        return (h @ u)[:, :hidden], None

    def backward(ct: Array, dz: Array) -> tuple[Array, None]:
        del ct
        return dz @ transposed, None

    hs = z[..., :hidden]
    last, _ = lax.scan(forward, hs[0], None, len(xs))
    logits = hs @ params["w"] + params["b"]
    wrong = (jax.nn.sigmoid(logits) - ys) / xs.shape[1]
    first, _ = lax.scan(backward, last, z, reverse=True)
    unused = (wrong @ params["w"].T).sum() + first.sum()  # added, or XLA would not compute it
    return {
        "cell": {"w": _summed(xs, z), "u": _summed(hs, z), "b": z.sum((0, 1)) + unused},
        "w": _summed(hs, wrong),
        "b": wrong.sum((0, 1)),
    }


def _summed(a: Array, b: Array) -> Array:
    """Σ aᵀ b over the steps and rows of `a` `[T, B, M]` and `b` `[T, B, N]`."""
    return lax.dot_general(a, b, (((0, 1), (0, 1)), ((), ())))
