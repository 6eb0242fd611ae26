"""The LSTM with noise and norms as one writes it in torch: its own layer where that takes them, a loop elsewhere.

Functions `(weights, xs [T, B, D]) -> ys [T, B, H]` that draw their masks themselves, as in training.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

Weights = dict[str, torch.Tensor]


def weights_of(size: int) -> Weights:
    layer = torch.nn.LSTM(size, size)
    weights = {name: p.detach().requires_grad_() for name, p in layer.named_parameters()}
    gains = {"x": 4 * size, "h": 4 * size, "c": size}
    return weights | {name: torch.ones(count, requires_grad=True) for name, count in gains.items()}


def own_layer(weights: Weights, xs: torch.Tensor) -> torch.Tensor:
    size = xs.shape[-1]
    of_layer = {name: w for name, w in weights.items() if name.endswith("_l0")}
    return torch.func.functional_call(torch.nn.LSTM(size, size, device="meta"), of_layer, (xs,))[0]


def weight_drop(weights: Weights, xs: torch.Tensor) -> torch.Tensor:
    dropped = functional.dropout(weights["weight_hh_l0"], 0.5)
    return own_layer(weights | {"weight_hh_l0": dropped}, xs)


def loop(
    weights: Weights,
    xs: torch.Tensor,
    read: Callable[[torch.Tensor], torch.Tensor] = lambda h: h,
    candidate: Callable[[torch.Tensor], torch.Tensor] = lambda g: g,
    keep: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor] = lambda old, new, rate: new,
    norm: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = lambda a, gain: a,
) -> torch.Tensor:
    """The loop over time: what reads h, the candidate, the new states, and the pre-activations each pass a function."""
    h = c = xs.new_zeros(xs.shape[1:])
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    hoisted = norm(xs @ weights["weight_ih_l0"].T, weights["x"])
    ys = []
    for x in hoisted:
        z = x + norm(read(h) @ weights["weight_hh_l0"].T, weights["h"]) + bias
        i, f, g, o = z.chunk(4, -1)
        new_c = torch.sigmoid(f) * c + torch.sigmoid(i) * candidate(torch.tanh(g))
        new_h = torch.sigmoid(o) * torch.tanh(norm(new_c, weights["c"]))
        c, h = keep(c, new_c, 0.5), keep(h, new_h, 0.05)
        ys.append(h)
    return torch.stack(ys)


def variational(weights: Weights, xs: torch.Tensor) -> torch.Tensor:
    """One mask for all steps on the inputs, and one on the states, which are of one size here."""
    mask, state_mask = (functional.dropout(torch.ones_like(xs[0]), 0.3) for _ in range(2))
    return loop(weights, xs * mask, read=lambda h: h * state_mask)


def zoned(old: torch.Tensor, new: torch.Tensor, rate: float) -> torch.Tensor:
    return torch.where(torch.rand_like(new) < rate, old, new)


def normed(a: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Layer norm over all gates together, or over the cell, as `seqjax.lstm_layer_norm` but for its shift b_c."""
    return functional.layer_norm(a, gain.shape, weight=gain)


def dropped(a: torch.Tensor) -> torch.Tensor:
    return functional.dropout(a, 0.3)


WAYS: dict[str, Callable[[Weights, torch.Tensor], Any]] = {
    "none": own_layer,
    "none, as a loop": loop,
    "weight drop": weight_drop,
    "variational": variational,
    "candidate": lambda weights, xs: loop(weights, xs, candidate=dropped),
    "zoneout": lambda weights, xs: loop(weights, xs, keep=zoned),
    "naive": lambda weights, xs: loop(weights, xs, read=dropped),
    "layer norm": lambda weights, xs: loop(weights, xs, norm=normed),
}


def gradients(size: int, shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """For each of WAYS a call that makes one gradient of weights and inputs."""
    weights = weights_of(size)
    xs = torch.randn(*shape, requires_grad=True)

    def gradient(way: Callable) -> Any:
        loss = way(weights, xs).square().mean()
        return torch.autograd.grad(loss, [*weights.values(), xs], allow_unused=True)

    return {name: lambda way=way: gradient(way) for name, way in WAYS.items()}  # type: ignore[misc]
