"""Beam search over an LSTM with the same weights: one compiled loop, and a loop of torch's.

Every source has a state of its own. The beam is five wide, no token ends a hypothesis, so that both run
all steps, and no length penalty is taken.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.speed.work import Case, Unsupported, Work, cores, rss_increase, temp_bytes
from seqjax.cells import CELLS
from seqjax.cells.lstm import LSTMState
from seqjax.decode import beam_search

WIDTH = 5


def weights_of(case: Case) -> dict[str, np.ndarray]:
    """The same numbers for both."""
    if case.cell != "lstm" or case.layers != 1:
        raise Unsupported("takes one layer of an LSTM")
    random, size, vocab_size = np.random.default_rng(0), case.hidden_size, case.input_size

    def draw(*shape: int, scale: float = size**-0.5) -> np.ndarray:
        return random.normal(scale=scale, size=shape).astype(np.float32)

    return {
        "embedding": draw(vocab_size, size, scale=1),
        "w": draw(size, 4 * size),
        "u": draw(size, 4 * size),
        "b": draw(4 * size),
        "head": draw(size, vocab_size, scale=2 * size**-0.5),
        "h": draw(case.batch, size, scale=0.5),
        "c": draw(case.batch, size, scale=0.5),
    }


def seqjax_beam(case: Case) -> Work:
    """`seqjax.decode.beam_search`."""
    cell, weights = CELLS["lstm"](case.hidden_size), jax.tree.map(jnp.asarray, weights_of(case))

    def search(weights: Any, first: Any) -> Any:
        params = {name: weights[name] for name in ("w", "u", "b")}

        def step(context: Any, state: Any, token: Any) -> tuple[Any, Any]:
            state, y = cell.step(params, state, weights["embedding"][token])
            return state, y @ weights["head"]

        state, none = LSTMState(h=weights["h"], c=weights["c"]), case.input_size
        how: dict[str, Any] = {"width": WIDTH, "length": case.steps, "end": none}
        found = beam_search(step, (), state, first, **how)
        return found.tokens, found.log_probs

    function, first = jax.jit(search), jnp.zeros(case.batch, jnp.int32)
    call = lambda: jax.block_until_ready(function(weights, first))  # noqa: E731
    return Work(call, partial(temp_bytes, function, weights, first))


def torch_beam(case: Case) -> Work:
    """A Python loop over torch's cell, all sources and beams at once, without gradients."""
    import torch

    torch.set_num_threads(cores())
    weights = {name: torch.tensor(array) for name, array in weights_of(case).items()}
    size = case.hidden_size
    cell = torch.nn.LSTMCell(size, size)
    with torch.no_grad():  # torch's gates are i, f, g, o, as ours are
        cell.weight_ih.copy_(weights["w"].T)
        cell.weight_hh.copy_(weights["u"].T)
        cell.bias_ih.copy_(weights["b"])
        cell.bias_hh.zero_()
    offsets = torch.arange(case.batch)[:, None] * WIDTH

    @torch.inference_mode()
    def search() -> Any:
        h, c = (weights[name].repeat_interleave(WIDTH, 0) for name in "hc")
        last = torch.zeros(case.batch * WIDTH, dtype=torch.int64)
        log_probs = torch.full((case.batch, WIDTH), -torch.inf)
        log_probs[:, 0] = 0
        tokens = torch.zeros(case.batch * WIDTH, case.steps, dtype=torch.int64)
        for t in range(case.steps):
            h, c = cell(weights["embedding"][last], (h, c))
            log_p = torch.log_softmax(h @ weights["head"], -1).view(case.batch, WIDTH, -1)
            total = (log_probs[..., None] + log_p).flatten(1)
            log_probs, place = total.topk(WIDTH)
            parent = (place // case.input_size + offsets).flatten()
            last = (place % case.input_size).flatten()
            h, c, tokens = h[parent], c[parent], tokens[parent]
            tokens[:, t] = last
        return tokens.view(case.batch, WIDTH, -1), log_probs

    return Work(search, rss_increase())
