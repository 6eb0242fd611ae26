"""The peers of `experiments.speed`, each a few functions around its own library.

Every peer's process imports this module, which imports a library only where its peer is built.
"""

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax  # starts no thread and no device before its first use: torch's process never does
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.speed.beam import seqjax_beam, torch_beam
from experiments.speed.products import GATES, products_cell
from experiments.speed.thresholds import OTHERS, set_constants
from experiments.speed.training import seqjax_training, ten_times, torch_training
from experiments.speed.work import Case, Unsupported, Work, cores, rss_increase, temp_bytes
from seqjax.cells import CELLS
from seqjax.decode.sampling import generate
from seqjax.devices.memory import reuse_freed_memory
from seqjax.devices.mesh import batch_mesh, over_batch, replicate, split_batch
from seqjax.recurrence.unroll import unroll
from seqjax.wrappers.depth import stack

# ---------------------------------------------------------------- JAX


class Layer(NamedTuple):
    params: Any
    state: Any
    apply: Callable[[Any, Any, Any], tuple[Any, Any]]  # (params, state, xs) -> (state, ys)


def jax_work(
    make_layer: Callable[[Case, int], Layer],
    case: Case,
    *,
    batch_axis: int = 1,
    place: Callable[[Any, int | None], Any] = lambda tree, batch_axis: tree,
) -> Work:
    """The work of any JAX library: layers one after the other, under `jax.jit`."""
    sizes = [case.input_size, *[case.hidden_size] * (case.layers - 1)]
    layers = [make_layer(case, size) for size in sizes]
    params = place([layer.params for layer in layers], None)
    state = place([layer.state for layer in layers], 0)
    axes = (case.steps, case.batch) if batch_axis else (case.batch, case.steps)
    random = np.random.default_rng(0)
    xs, weights = (
        place(jnp.asarray(random.normal(size=(*axes, size)), jnp.float32), batch_axis)
        for size in (case.input_size, case.hidden_size)
    )

    def run(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        new_state = []
        for layer, layer_params, layer_state in zip(layers, params, state, strict=True):
            layer_state, xs = layer.apply(layer_params, layer_state, xs)
            new_state.append(layer_state)
        return new_state, xs

    functions: dict[str, Callable] = {
        "train": jax.value_and_grad(lambda p, xs, s, w: jnp.sum(run(p, s, xs)[1] * w), (0, 1)),
        "forward": lambda params, xs, state, weights: run(params, state, xs)[1],
        "stream": lambda params, xs, state, weights: run(params, state, xs),
    }
    function = jax.jit(functions[case.kind])

    def call() -> Any:
        nonlocal state
        outputs = jax.block_until_ready(function(params, xs, state, weights))
        if case.kind == "stream":
            state, outputs = outputs
        return outputs

    return Work(call, partial(temp_bytes, function, params, xs, state, weights))


def pick(case: Case, lstm: Any, gru: Any, rnn: Any = None) -> Any:
    """The library's class for the case's cell."""
    kind = {"lstm": lstm, "gru": gru, "rnn": rnn}.get(case.cell)
    if kind is None:
        raise Unsupported(f"no {case.cell}")
    return kind


def seqjax_layer(case: Case, size: int, *, plain: bool = False) -> Layer:
    cell = CELLS[case.cell](case.hidden_size)

    def apply(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        if plain:
            return lax.scan(partial(cell.step, params), state, xs)
        return unroll(cell, params, xs, state)

    return Layer(cell.init(jax.random.key(0), size), cell.initial_state((case.batch,)), apply)


def products_layer(case: Case, size: int) -> Layer:
    if case.cell not in GATES:
        raise Unsupported(f"no {case.cell}")
    cell = products_cell(case.cell, case.hidden_size)
    params = cell.init(jax.random.key(0), size)
    return Layer(params, cell.initial_state((case.batch,)), lambda p, s, xs: unroll(cell, p, xs, s))


def two_devices(make_layer: Callable[[Case, int], Layer], case: Case) -> Work:
    """The work of `jax_work` with the batch spread over two devices of the host."""
    if case.batch % 2:
        raise Unsupported(f"a batch of {case.batch} does not divide by 2")

    def make(case: Case, size: int) -> Layer:
        layer = make_layer(case, size)
        return layer._replace(apply=over_batch(layer.apply, batch_mesh(2)))

    return jax_work(make, case, place=on_two_devices)


def on_two_devices(tree: Any, batch_axis: int | None) -> Any:
    """A tree on two devices: copied to both, or split between them along the batch axis."""
    mesh = batch_mesh(2)
    return replicate(tree, mesh) if batch_axis is None else split_batch(tree, mesh, batch_axis)


def linen_layer(case: Case, size: int) -> Layer:
    from flax import linen

    cell = pick(case, linen.OptimizedLSTMCell, linen.GRUCell, linen.SimpleCell)(case.hidden_size)
    rnn = linen.RNN(cell, time_major=True, return_carry=True)
    key, like = jax.random.key(0), jnp.zeros((case.steps, case.batch, size))
    state = cell.initialize_carry(key, like.shape[1:])
    return Layer(rnn.init(key, like), state, lambda p, s, xs: rnn.apply(p, xs, initial_carry=s))


def nnx_layer(case: Case, size: int) -> Layer:
    from flax import nnx

    make = pick(case, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell)
    cell = make(size, case.hidden_size, rngs=nnx.Rngs(0))
    rnn = nnx.RNN(cell, time_major=True, return_carry=True)
    graph, params, *others = nnx.split(rnn, nnx.Param, ...)
    state = cell.initialize_carry((case.batch, size), nnx.Rngs(0))
    return Layer(params, state, lambda p, s, xs: nnx.merge(graph, p, *others)(xs, initial_carry=s))


def haiku_layer(case: Case, size: int) -> Layer:
    import haiku as hk

    make = partial(pick(case, hk.LSTM, hk.GRU, hk.VanillaRNN), case.hidden_size)
    zeros: Any = hk.without_apply_rng(hk.transform(lambda: make().initial_state(case.batch)))
    run: Any = hk.without_apply_rng(hk.transform(lambda xs, s: hk.dynamic_unroll(make(), xs, s)))
    state = zeros.apply({})
    params = run.init(jax.random.key(0), jnp.zeros((case.steps, case.batch, size)), state)
    return Layer(params, state, lambda p, s, xs: run.apply(p, xs, s)[::-1])


def equinox_layer(case: Case, size: int) -> Layer:
    import equinox as eqx

    make = pick(case, eqx.nn.LSTMCell, eqx.nn.GRUCell)
    cell = make(size, case.hidden_size, key=jax.random.key(0))
    params, static = eqx.partition(cell, eqx.is_array)
    zeros = jnp.zeros((case.batch, case.hidden_size))

    def apply(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        def step(state: Any, x: Any) -> tuple[Any, Any]:
            state = jax.vmap(eqx.combine(params, static))(x, state)
            return state, state[0] if case.cell == "lstm" else state

        return lax.scan(step, state, xs)

    return Layer(params, (zeros, zeros) if case.cell == "lstm" else zeros, apply)


def keras_layer(case: Case, size: int) -> Layer:
    from keras import layers

    make = pick(case, layers.LSTM, layers.GRU, layers.SimpleRNN)
    layer = make(case.hidden_size, return_sequences=True, return_state=True)
    layer.build((case.batch, case.steps, size))
    fixed = [v.value for v in layer.non_trainable_variables]
    state = [jnp.zeros((case.batch, case.hidden_size))] * (2 if case.cell == "lstm" else 1)

    def apply(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        (ys, *state), _ = layer.stateless_call(params, fixed, xs, initial_state=state)
        return state, ys

    return Layer([v.value for v in layer.trainable_variables], state, apply)


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


# ---------------------------------------------------------------- torch


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


# ---------------------------------------------------------------- the table of peers


class Peer(NamedTuple):
    package: str
    build: Callable[[Case], Work] | None
    generation: Callable[[Case], Work] | None = None
    beam: Callable[[Case], Work] | None = None
    training: Callable[[Case], Work] | None = None
    thresholds: Callable[[Case], Work] | None = None


def with_other_constants(name: str, case: Case) -> Work:
    set_constants(name)
    return jax_work(seqjax_layer, case)


PEERS = {
    "torch": Peer("torch", torch_work, torch_generation, torch_beam, torch_training),
    "torch_layer": Peer("torch", None, partial(torch_generation, layer=True)),
    "torch_compile": Peer("torch", partial(torch_work, compiled=True)),
    "linen": Peer("flax", partial(jax_work, linen_layer)),
    "nnx": Peer("flax", partial(jax_work, nnx_layer)),
    "haiku": Peer("haiku", partial(jax_work, haiku_layer)),
    "equinox": Peer("equinox", partial(jax_work, equinox_layer)),
    "keras": Peer("keras", partial(jax_work, keras_layer, batch_axis=0)),
    "plain": Peer("jax", partial(jax_work, partial(seqjax_layer, plain=True))),
    "seqjax": Peer(
        "jax",
        partial(jax_work, seqjax_layer),
        seqjax_generation,
        seqjax_beam,
        seqjax_training,
        partial(jax_work, seqjax_layer),
    ),
    "seqjax_2dev": Peer(
        "jax",
        partial(two_devices, seqjax_layer),
        seqjax_2dev_generation,
        training=partial(seqjax_training, devices=2),
    ),
    "products": Peer("jax", partial(jax_work, products_layer)),
    "products_2dev": Peer("jax", partial(two_devices, products_layer)),
} | {name: Peer("jax", None, thresholds=partial(with_other_constants, name)) for name in OTHERS}
TWO_DEVICES = "--xla_force_host_platform_device_count=2"
ENVIRONMENTS = {
    name: {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {TWO_DEVICES}"}
    for name in PEERS
    if name.endswith("_2dev")
} | {"keras": {"KERAS_BACKEND": "jax"}}


# ---------------------------------------------------------------- the child process


def build(peer: str, case: Case) -> Work:
    """Prepares the work of a peer on a case, in this process."""
    own = case.suite if case.suite in ("generation", "beam", "training", "thresholds") else "build"
    make = getattr(PEERS[peer], own)
    layers = PEERS[peer].build
    if make and layers and case.kind == "layers":
        make = partial(ten_times, layers)
    if make is None:
        raise Unsupported(f"takes no part in the suite {case.suite}")
    return make(case)


def serve(peer: str, *, reuse_memory: bool = False) -> None:
    """A peer's process: reads a JSON request from each line of stdin, and writes a JSON reply.

    `["prepare", case]` compiles and warms up; `["burst", seconds]` returns the times of calls;
    `["start", case]` makes one call and no more; `["peak", null]` returns the most memory so far.
    """
    if reuse_memory:
        reuse_freed_memory()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes to the log
    work = Work(tuple, dict)
    for line in sys.stdin:
        request, argument = json.loads(line)
        reply: dict[str, Any] = {}
        try:
            if request == "prepare":
                compile_seconds = []
                for _ in range(2):  # the first time includes what is loaded late
                    work = Work(tuple, dict)  # frees the last case
                    if "jax" in sys.modules:
                        sys.modules["jax"].clear_caches()
                    work = build(peer, Case(*argument))
                    first, *typical = time_calls(work.call, 3)
                    compile_seconds.append(max(0.0, first - min(typical)))
                reply = {"compile_seconds": min(compile_seconds), **work.memory()}
            elif request == "start":
                work = build(peer, Case(*argument))
                work.call()
            elif request == "peak":
                most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                reply = {"peak_rss_bytes": most * (1 if sys.platform == "darwin" else 1024)}
            else:
                work.call()  # not timed: other processes have filled the caches
                reply = {"times": time_calls(work.call, 2, argument)}
        except Unsupported as reason:
            reply = {"skipped": str(reason)}
        except Exception as error:
            traceback.print_exc()
            reply = {"skipped": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(reply), file=replies, flush=True)


def time_calls(call: Callable[[], Any], at_least: int, seconds: float = 0.0) -> list[float]:
    """The seconds of each call, of which there are `at_least` or as many as `seconds` hold."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < at_least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times
