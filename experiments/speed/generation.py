"""Generation: tokens drawn one after the other, in one compiled loop or in Python's."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from experiments.speed.layers import on_two_devices
from experiments.speed.torch_layers import torch_step
from experiments.speed.work import Case, Unsupported, Work, cores, rss_increase, temp_bytes
from seqjax.cells import CELLS
from seqjax.decode.sampling import generate
from seqjax.wrappers.depth import stack


def seqjax_generation(
    case: Case, *, place: Callable[[Any, int | None], Any] = lambda tree, batch_axis: tree
) -> Work:
    """`seqjax.decode.generate`: `steps` tokens of `batch` streams in one compiled loop."""
    cell = stack(*[CELLS[case.cell](case.hidden_size)] * case.layers)
    key, size = jax.random.key(0), (case.input_size, case.hidden_size)
    params = {
        "embedding": jax.random.normal(key, size),
        "cell": cell.init(key, case.hidden_size),
        "head": jax.random.normal(key, size[::-1]) / 16,
        "bias": jnp.zeros(case.input_size),
    }
    params, key = place((params, key), None)
    prime = place(jnp.zeros((case.batch, 1), jnp.int32), 0)

    def write(params: Any, prime: Any, key: Any) -> Any:
        def step(state: Any, token: Any) -> tuple[Any, Any]:
            state, y = cell.step(params["cell"], state, params["embedding"][token])
            return state, y @ params["head"] + params["bias"]

        state, temperature = cell.initial_state((case.batch,)), float(case.kind == "sample")
        return generate(step, state, prime, key, length=case.steps, temperature=temperature)

    function = jax.jit(write)
    call = lambda: jax.block_until_ready(function(params, prime, key))  # noqa: E731
    return Work(call, partial(temp_bytes, function, params, prime, key))


def seqjax_2dev_generation(case: Case) -> Work:
    """The same with half of the streams on each of two devices of the host."""
    if case.batch % 2:
        raise Unsupported(f"{case.batch} stream(s) do not divide by 2")
    return seqjax_generation(case, place=on_two_devices)


def torch_generation(case: Case, *, layer: bool = False) -> Work:
    """A Python loop of single steps without gradients, by torch's cells or by its layer."""
    import torch

    torch.set_num_threads(cores())
    step = torch_step(case, case.hidden_size, layer=layer)
    embedding = torch.nn.Embedding(case.input_size, case.hidden_size)
    head = torch.nn.Linear(case.hidden_size, case.input_size)

    @torch.inference_mode()
    def write() -> Any:
        tokens, state, drawn = torch.zeros(case.batch, dtype=torch.int64), None, []
        for _ in range(case.steps):
            y, state = step(embedding(tokens), state)
            if case.kind == "greedy":
                tokens = head(y).argmax(-1)
            else:
                tokens = torch.multinomial(head(y).softmax(-1), 1)[:, 0]
            drawn.append(tokens)
        return torch.stack(drawn, 1)

    return Work(write, rss_increase())
