"""How long a token takes where one comes at a time: one stream, one step, p50 and p99.

    python -m experiments.export.latency

measures a language model, embedding, LSTM and head, in four forms with the same weights: its step under `jax.jit`,
that step exported as StableHLO, its graph in ONNX Runtime, and torch's cell. The state goes
from call to call, the most probable token is read next, and all must choose the same tokens. They take turns; one core.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.common import tables
from seqjax import lstm
from seqjax.interop import export_token_step, language_model_to_onnx
from seqjax.models import LanguageModel
from seqjax.types import Array

VOCAB, SIZES = 100, (64, 256, 512)
TURNS, CALLS = 20, 200

Stream = Callable[[int], int]  # from one token to the next; the state is kept within


def jitted(model: LanguageModel) -> Stream:
    """The model's own step."""

    @jax.jit
    def step(state: Any, token: Array) -> tuple[Any, Array]:
        state, logits = model.step(token, state)
        return state, logits[0].argmax()

    return _carried(step, model.initial_state(1))


def exported(model: LanguageModel) -> Stream:
    """The step as what `export_token_step` writes, run by jax alone."""
    run = jax.export.deserialize(bytearray(export_token_step(model)))
    leaves = tuple(jnp.zeros((1, *a.shape[1:]), a.dtype) for a in run.in_avals[:-1])

    @jax.jit
    def step(leaves: Any, token: Array) -> tuple[Any, Array]:
        leaves, logits = run.call(leaves, token)
        return leaves, logits[0].argmax()

    return _carried(step, leaves)


def _carried(step: Callable[[Any, Any], tuple[Any, Array]], state: Any) -> Stream:
    def advance(token: int) -> int:
        nonlocal state
        state, best = step(state, np.array([token], np.int32))
        return int(best)

    return advance


def in_onnx_runtime(model: LanguageModel) -> Stream:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    graph = language_model_to_onnx(model, "lstm").SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    states = [np.zeros((1, 1, model.layers[0].output_size), np.float32)] * 2
    names = ["logits", "final_h", "final_c"]

    def advance(token: int) -> int:
        nonlocal states
        feeds = {"tokens": np.array([[token]]), "initial_h": states[0], "initial_c": states[1]}
        logits, *states = session.run(names, feeds)
        return int(logits.argmax())

    return advance


def in_torch(model: LanguageModel) -> Stream:
    import torch

    torch.set_num_threads(1)
    size = model.layers[0].output_size
    params = {name: torch.tensor(np.asarray(a)) for name, a in model.layers[0].arrays().items()}

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(VOCAB, size)
            self.cell = torch.nn.LSTMCell(size, size)
            self.head = torch.nn.Linear(size, VOCAB)

        def forward(self, token: Any, h: Any, c: Any) -> Any:
            h, c = self.cell(self.embedding(token), (h, c))
            return self.head(h).argmax(-1), h, c

    step: Any = Step()
    head: Any = model.head
    with torch.no_grad():  # gates are i, f, g, o in both
        step.embedding.weight.copy_(torch.tensor(np.asarray(model.embedding.embedding.get_value())))
        step.cell.weight_ih.copy_(params["w"].T)
        step.cell.weight_hh.copy_(params["u"].T)
        step.cell.bias_ih.copy_(params["b"])
        step.cell.bias_hh.zero_()
        step.head.weight.copy_(torch.tensor(np.asarray(head.kernel.get_value())).T)
        step.head.bias.copy_(torch.tensor(np.asarray(head.bias.get_value())))
    state = torch.zeros(1, size), torch.zeros(1, size)

    def advance(token: int) -> int:
        nonlocal state
        with torch.inference_mode():
            best, *state = step(torch.tensor([token]), *state)
        return int(best)

    return advance


WAYS: dict[str, Callable[[LanguageModel], Stream]] = {
    "seqjax, jax.jit": jitted,
    "seqjax, StableHLO": exported,
    "ONNX Runtime": in_onnx_runtime,
    "torch": in_torch,
}


def microseconds(streams: dict[str, Stream]) -> dict[str, list[float]]:
    """The time of each call of each stream, in turns; the first turn is not counted.

    Raises:
      AssertionError: if two choose other tokens.
    """
    found: dict[str, list[float]] = {name: [] for name in streams}
    last = dict.fromkeys(streams, 1)
    for turn in range(TURNS + 1):
        for name, advance in streams.items():
            for _ in range(CALLS):
                start = time.perf_counter_ns()
                last[name] = advance(last[name])
                if turn:
                    found[name].append((time.perf_counter_ns() - start) / 1000)
        assert len(set(last.values())) == 1, f"other tokens: {last}"
    return found


def main() -> None:
    lines = []
    for size in SIZES:
        model = LanguageModel(VOCAB, [lstm(size)], embedding_size=size, rngs=nnx.Rngs(0))
        for name, times in microseconds({n: make(model) for n, make in WAYS.items()}).items():
            percentiles = statistics.quantiles(times, n=100)
            shown = [f"{percentiles[p - 1]:.0f}" for p in (50, 99)]
            lines.append([str(size), name, *shown, f"{max(times):.0f}"])
    head = ["units", "one token by", "p50, microseconds", "p99", "longest"]
    print(tables.table(head, lines))


if __name__ == "__main__":
    main()
