"""torch's recurrent layers and cells, and the work they do."""

from collections.abc import Callable
from typing import Any

from experiments.speed.work import Case, Unsupported, Work, cores, pick, rss_increase


def torch_work(case: Case, *, compiled: bool = False) -> Work:
    """torch's recurrent layers; a stream uses its cells."""
    import torch

    torch.set_num_threads(cores())
    if compiled and case.steps > 200:
        raise Unsupported(f"compiles for about a second a step, and there are {case.steps}")
    make = pick(case, torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)
    module = make(case.input_size, case.hidden_size, case.layers)
    run: Any = torch_step(case, case.input_size) if case.kind == "stream" else module
    if compiled:
        torch._dynamo.config.allow_rnn = True  # without it, torch.compile leaves layers as they are
        run = torch.compile(run)
    xs = torch.randn(case.steps, case.batch, case.input_size, requires_grad=case.kind == "train")
    weights = torch.randn(case.steps, case.batch, case.hidden_size)
    state = None

    def train() -> Any:
        module.zero_grad()
        xs.grad = None
        loss = (run(xs)[0] * weights).sum()
        loss.backward()
        return loss.item(), ([p.grad for p in module.parameters()], xs.grad)

    @torch.inference_mode()
    def forward() -> Any:
        return run(xs)[0]

    @torch.inference_mode()
    def stream() -> Any:
        nonlocal state
        y, state = run(xs[0], state)
        return y[None]

    return Work({"train": train, "forward": forward, "stream": stream}[case.kind], rss_increase())


def torch_step(
    case: Case, size: int, *, layer: bool = False
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """One time step, `(x, state) -> (y, state)`, by torch's cells or by its layer."""
    from torch import nn

    if layer:
        module = pick(case, nn.LSTM, nn.GRU, nn.RNN)(size, case.hidden_size, case.layers)

        def run_layer(x: Any, state: Any) -> tuple[Any, Any]:
            ys, state = module(x[None], state)
            return ys[0], state

        return run_layer
    make = pick(case, nn.LSTMCell, nn.GRUCell, nn.RNNCell)
    sizes = [size, *[case.hidden_size] * (case.layers - 1)]
    cells = [make(size, case.hidden_size) for size in sizes]

    def run_cells(x: Any, state: Any) -> tuple[Any, Any]:
        new_state = []
        for cell, old in zip(cells, state or [None] * len(cells), strict=True):
            new_state.append(cell(x, old))
            x = new_state[-1][0] if case.cell == "lstm" else new_state[-1]
        return x, new_state

    return run_cells
