"""How fast recurrent layers run on the CPU: seqjax, a plain `lax.scan`, and six other libraries.

Claim: `seqjax.unroll` trains LSTMs and GRUs faster than a `lax.scan` over the same cell, and so
than the recurrent layers of Flax (Linen and NNX), Haiku, Equinox and Keras on JAX, which are such
scans. How it stands against torch depends on the shape, and is measured here.

    python -m experiments.speed                              # about 40 minutes on 2 CPU cores
    python -m experiments.speed --peers=torch,plain --cells=lstm --shapes=32x128x128x128x1

Protocol: every peer is a process of its own; all compile and warm up, then take turns, a burst of
calls each in every round. `train` is the value and all gradients (parameters and inputs) of a
weighted sum of the outputs, `forward` the outputs alone, `stream` one time step with the state
handed in and out. float32, laid out as the library likes it. A ratio is a peer's median time over
seqjax's: above 1, seqjax is faster. Of two forms with the same equations we take a library's
faster one (Flax's `OptimizedLSTMCell`, torch's cells for single steps). Equations differ in
details: Haiku's GRU resets before the product, torch has two biases. Nothing else may run on the
machine meanwhile: a second program slows torch's threads several times more than JAX's.
"""

import dataclasses
import datetime
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax  # starts no thread and no device before its first use: torch's process never does
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments import cli, plots
from seqjax.cells import CELLS
from seqjax.compose import stack
from seqjax.decode import generate
from seqjax.errors import InputError, RunError, check_positive, check_rate
from seqjax.records import write_json
from seqjax.unroll import unroll
from seqjax.workdir import open_workdir

ROOT = Path(__file__).parents[1]
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "oo", "++", "**")


class Case(NamedTuple):
    """One piece of work that all peers do."""

    suite: str
    cell: str
    kind: str  # train, forward, stream; in the suite generation greedy, sample
    batch: int
    steps: int
    input_size: int
    hidden_size: int
    layers: int


class Work(NamedTuple):
    """A case that is ready to run."""

    call: Callable[[], Any]  # computes everything, waits for it and returns it
    memory: Callable[[], dict[str, int | None]]  # asked after the first calls


class Unsupported(Exception):
    """The peer has no such layer, or cannot run this shape."""


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


def temp_bytes(function: Any, *inputs: Any) -> dict[str, int | None]:
    """What the function, compiled already, allocates beside its inputs and outputs."""
    analysis = function.lower(*inputs).compile().memory_analysis()
    return {"temp_bytes": analysis.temp_size_in_bytes if analysis else None}


def pick(case: Case, lstm: Any, gru: Any, rnn: Any = None) -> Any:
    """The library's class for the case's cell."""
    found = {"lstm": lstm, "gru": gru, "rnn": rnn}.get(case.cell)
    if found is None:
        raise Unsupported(f"no {case.cell}")
    return found


def seqjax_layer(case: Case, size: int, *, plain: bool = False) -> Layer:
    cell = CELLS[case.cell](case.hidden_size)

    def apply(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        if plain:
            return lax.scan(partial(cell.step, params), state, xs)
        return unroll(cell, params, xs, state)

    return Layer(cell.init(jax.random.key(0), size), cell.initial_state((case.batch,)), apply)


def seqjax_2dev(case: Case) -> Work:
    """seqjax as it is, with the batch spread over two devices of the host."""
    if case.batch % 2:
        raise Unsupported(f"a batch of {case.batch} does not divide by 2")
    mesh = jax.make_mesh((2,), ("batch",), (jax.sharding.AxisType.Auto,))

    def place(tree: Any, batch_axis: int | None) -> Any:
        spec = jax.P() if batch_axis is None else jax.P(*[None] * batch_axis, "batch")
        return jax.device_put(tree, jax.NamedSharding(mesh, spec))

    return jax_work(seqjax_layer, case, place=place)


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
    graph, params, *rest = nnx.split(rnn, nnx.Param, ...)
    state = cell.initialize_carry((case.batch, size), nnx.Rngs(0))
    return Layer(params, state, lambda p, s, xs: nnx.merge(graph, p, *rest)(xs, initial_carry=s))


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
    rest = [v.value for v in layer.non_trainable_variables]
    state = [jnp.zeros((case.batch, case.hidden_size))] * (2 if case.cell == "lstm" else 1)

    def apply(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        (ys, *state), _ = layer.stateless_call(params, rest, xs, initial_state=state)
        return state, ys

    return Layer([v.value for v in layer.trainable_variables], state, apply)


def seqjax_generation(case: Case) -> Work:
    """`decode.generate`: `steps` tokens of `batch` streams, in one compiled loop."""
    cell = stack(*[CELLS[case.cell](case.hidden_size)] * case.layers)
    key, size = jax.random.key(0), (case.input_size, case.hidden_size)
    params = {
        "embedding": jax.random.normal(key, size),
        "cell": cell.init(key, case.hidden_size),
        "head": jax.random.normal(key, size[::-1]) / 16,
        "bias": jnp.zeros(case.input_size),
    }
    prime = jnp.zeros((case.batch, 1), jnp.int32)

    def write(params: Any, key: Any) -> Any:
        def step(state: Any, tokens: Any) -> tuple[Any, Any]:
            state, y = cell.step(params["cell"], state, params["embedding"][tokens])
            return state, y @ params["head"] + params["bias"]

        state, temperature = cell.initial_state((case.batch,)), float(case.kind == "sample")
        return generate(step, state, prime, key, length=case.steps, temperature=temperature)

    function = jax.jit(write)
    call = lambda: jax.block_until_ready(function(params, key))  # noqa: E731
    return Work(call, partial(temp_bytes, function, params, key))


# ---------------------------------------------------------------- torch


def torch_work(case: Case, *, compiled: bool = False) -> Work:
    """`torch.nn.LSTM` and the like; a stream by whatever single step is the fastest."""
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


def torch_step(case: Case, size: int) -> Callable[[Any, Any], tuple[Any, Any]]:
    """One time step `(x, state) -> (y, state)`: torch's cells, or its layers for large batches."""
    from torch import nn

    if case.batch > 16:  # measured for LSTMs of 256 units
        layer = pick(case, nn.LSTM, nn.GRU, nn.RNN)(size, case.hidden_size, case.layers)

        def run_layer(x: Any, state: Any) -> tuple[Any, Any]:
            ys, state = layer(x[None], state)
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


def torch_generation(case: Case) -> Work:
    """A Python loop of single steps, without gradients."""
    import torch

    torch.set_num_threads(cores())
    step = torch_step(case, case.hidden_size)
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


def rss_increase() -> Callable[[], dict[str, int | None]]:
    """Asked later, how far above what it holds now the process's memory has risen since."""

    def read(name: str) -> int:
        words = Path("/proc/self/status").read_text().split()
        return 1024 * int(words[words.index(name) + 1])

    try:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        start = read("VmRSS:")
    except OSError:
        return lambda: {"peak_rss_increase_bytes": None}
    return lambda: {"peak_rss_increase_bytes": read("VmHWM:") - start}


# ---------------------------------------------------------------- who, and what


class Peer(NamedTuple):
    package: str
    build: Callable[[Case], Work]
    generation: Callable[[Case], Work] | None = None


PEERS = {
    "torch": Peer("torch", torch_work, torch_generation),
    "torch_compile": Peer("torch", partial(torch_work, compiled=True)),
    "linen": Peer("flax", partial(jax_work, linen_layer)),
    "nnx": Peer("flax", partial(jax_work, nnx_layer)),
    "haiku": Peer("haiku", partial(jax_work, haiku_layer)),
    "equinox": Peer("equinox", partial(jax_work, equinox_layer)),
    "keras": Peer("keras", partial(jax_work, keras_layer, batch_axis=0)),
    "plain": Peer("jax", partial(jax_work, partial(seqjax_layer, plain=True))),
    "seqjax": Peer("jax", partial(jax_work, seqjax_layer), seqjax_generation),
    "seqjax_2dev": Peer("jax", seqjax_2dev),
}
TWO_DEVICES = "--xla_force_host_platform_device_count=2"
ENVIRONMENTS = {
    "keras": {"KERAS_BACKEND": "jax"},
    "seqjax_2dev": {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {TWO_DEVICES}"},
}


class Suite(NamedTuple):
    peers: tuple[str, ...]
    cells: tuple[str, ...]
    kinds: tuple[str, ...]
    shapes: str  # batch, steps, input size, hidden size, layers


OURS, BOTH = ("plain", "seqjax"), ("train", "forward")
SHAPES = "4x100x64x64x1,32x128x128x128x1,16x1000x128x128x1"
GROWTH = [f"4x{t}x64x64x1" for t in (100, 300, 1000, 3000, 10000)]
GROWTH += [f"16x100x{h}x{h}x1" for h in (32, 64, 128, 256, 512, 1024)]
LARGE = "20x35x650x650x2,64x50x512x512x2,64x128x256x256x2,1x1x512x512x1"
SUITES = {
    "peers": Suite(tuple(PEERS), ("lstm", "gru", "rnn"), BOTH, f"{SHAPES},{LARGE}"),
    "cells": Suite(OURS, tuple(CELLS), BOTH, f"{SHAPES},64x128x256x256x1"),
    # What varies within one batch size, T or H, is one line.
    "growth": Suite(OURS, ("lstm",), ("train",), ",".join(GROWTH)),
    # Streams, tokens, vocabulary, units.
    "generation": Suite(
        ("torch", "seqjax"), ("lstm",), ("greedy", "sample"), "1x200x100x256x1,64x200x100x256x1"
    ),
}


@dataclasses.dataclass(frozen=True)
class Config:
    suite: str = cli.option("peers", "what to compare", choices=(*SUITES, "all"))
    peers: str = cli.option("", "some peers, with commas, seqjax always among them; empty for all")
    cells: str = cli.option("", "names of cells, with commas; empty for the suite's own")
    shapes: str = cli.option("", "BxTxDxHxLAYERS, with commas; empty for the suite's own")
    rounds: int = cli.option(5, "turns of every peer in a case")
    burst_seconds: float = cli.option(0.4, "length of a turn; two calls at least")
    torch_compile: bool = cli.option(False, "also measure torch.compile")
    workdir: str = cli.option("", "where to write; runs/speed-DATE-TIME if empty")

    def __post_init__(self):
        check_positive("--rounds", self.rounds)
        check_rate("--burst_seconds", self.burst_seconds)
        parse_shapes(self.shapes)
        for flag, known in (("peers", PEERS), ("cells", CELLS)):
            for name in names(getattr(self, flag)):
                if name not in known:
                    raise InputError(f"--{flag} takes some of {', '.join(known)}, got {name!r}.")


def names(text: str) -> list[str]:
    return text.split(",") if text else []


def parse_shapes(text: str) -> list[tuple[int, ...]]:
    """`"4x100x64x64x1,..."` as tuples of five."""
    for shape in names(text):
        if not re.fullmatch(r"0*[1-9][0-9]*(x0*[1-9][0-9]*){4}", shape):
            raise InputError(
                "--shapes takes five integers of at least 1 for every shape, BxTxDxHxLAYERS, as"
                f" 4x100x64x64x1, got {shape!r}."
            )
    return [tuple(map(int, shape.split("x"))) for shape in names(text)]


def plan(config: Config) -> list[tuple[Case, list[str]]]:
    """All cases in order, each with its peers, installed or not."""
    wanted = set(names(config.peers) or set(PEERS) - {"torch_compile"}) | {"seqjax"}
    wanted |= {"torch_compile"} if config.torch_compile else set()
    cases = []
    for suite in SUITES if config.suite == "all" else [config.suite]:
        all_peers, cells, kinds, shapes = SUITES[suite]
        peers = [peer for peer in all_peers if peer in wanted]
        for cell in names(config.cells) or cells:
            for shape in parse_shapes(config.shapes or shapes):
                stream = kinds == BOTH and shape[1] == 1
                for kind in ("stream",) if stream else kinds:
                    cases.append((Case(suite, cell, kind, *shape), peers))
    return cases


# ---------------------------------------------------------------- one process for each peer


def build(peer: str, case: Case) -> Work:
    """Makes a peer ready for a case, in this process."""
    make = PEERS[peer].generation if case.suite == "generation" else PEERS[peer].build
    if make is None:
        raise Unsupported("does not generate")
    return make(case)


def serve(peer: str) -> None:
    """The child: a JSON request a line on stdin, a JSON reply a line on stdout.

    `["prepare", case]` compiles and warms up; `["burst", seconds]` returns the times of calls.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes to the log
    work = Work(tuple, dict)
    for line in sys.stdin:
        request, argument = json.loads(line)
        reply: dict[str, Any] = {}
        try:
            if request == "prepare":
                work = Work(tuple, dict)  # frees the case before
                work = build(peer, Case(*argument))
                first, *typical = time_calls(work.call, 3)
                reply = {"compile_seconds": max(0.0, first - min(typical)), **work.memory()}
            else:
                work.call()  # the others have filled the caches
                reply = {"times": time_calls(work.call, 2, argument)}
        except Unsupported as reason:
            reply = {"skipped": str(reason)}
        except Exception as error:
            traceback.print_exc()
            reply = {"skipped": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(reply), file=replies, flush=True)


def time_calls(call: Callable[[], Any], at_least: int, seconds: float = 0.0) -> list[float]:
    """Seconds of every call."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < at_least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


class Child:
    """The parent's end of `serve`."""

    def __init__(self, peer: str, log: Path):
        self._log = log
        env = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "0"}
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from experiments import speed; speed.serve({peer!r})"],
                cwd=ROOT,
                env=os.environ | env | ENVIRONMENTS.get(peer, {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,  # Ctrl-C is the parent's
            )

    def ask(self, request: str, argument: Any) -> dict[str, Any]:
        """Sends a request and waits, without a spin, for the reply."""
        try:
            print(json.dumps([request, argument]), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())  # type: ignore[union-attr]
        except (BrokenPipeError, json.JSONDecodeError):  # it is gone
            return {"skipped": f"ended with code {self._process.wait()}; see {self._log}"}

    def close(self) -> None:
        """Stops the child; an empty log is removed."""
        self._process.kill()
        self._process.communicate()
        if not self._log.stat().st_size:
            self._log.unlink()


# ---------------------------------------------------------------- measuring


def run(config: Config) -> dict[str, Any]:
    """Measures, writes results.json, table.md and figures, and returns what results.json holds."""
    cases = plan(config)
    wanted = [peer for peer in PEERS if any(peer in peers for _, peers in cases)]
    missing = [p for p in wanted if importlib.util.find_spec(PEERS[p].package) is None]
    workdir = open_workdir(config.workdir, name="speed", resume=False)
    settings = dataclasses.asdict(config)
    write_json(workdir / "config.json", settings)
    results: dict[str, Any] = {"config": settings, "machine": machine(), "not_installed": missing}
    results["cases"] = []
    for peer in missing:
        print(f"{peer} is skipped: {PEERS[peer].package} is not installed")
    if results["machine"]["load_average"] > 0.5:
        print("this machine is busy with something else: times will be wrong, torch's most of all")
    guesses = [guess_seconds(case, len(set(p) - set(missing)), config) for case, p in cases]
    minutes = (sum(guesses) + 2 * len(wanted)) / 60
    print(f"{len(cases)} cases, about {minutes:.1f} minutes; writing to {workdir}", flush=True)
    start = time.monotonic()
    children: dict[str, Child] = {}
    try:
        for peer in wanted:
            if peer not in missing:
                children[peer] = Child(peer, workdir / f"{peer}.log")
        for i, (case, peers) in enumerate(cases, 1):
            row = measure(case, {p: children[p] for p in peers if p in children}, config)
            results["cases"].append(row)
            write_json(workdir / "results.json", results)
            left = (time.monotonic() - start) / sum(guesses[:i]) * sum(guesses[i:]) / 60
            print(f"{i}/{len(cases)} {show(row)}  {left:.1f} minutes left", flush=True)
    finally:
        for child in children.values():
            child.close()
        report(workdir, results)
    if not any("seqjax" in row["peers"] for row in results["cases"]):
        raise RunError(f"seqjax ran in no case; {workdir / 'results.json'} says why.")
    return results


def guess_seconds(case: Case, num_peers: int, config: Config) -> float:
    """About how long a case takes, at 60 GFLOP/s and 20 µs a step."""
    flops = 8 * case.batch * case.hidden_size * (case.input_size + case.hidden_size)
    call = (3 if case.kind == "train" else 1) * case.steps * case.layers * (flops / 6e10 + 2e-5)
    return num_peers * (1 + 3 * call + config.rounds * (call + max(2 * call, config.burst_seconds)))


def measure(case: Case, children: dict[str, Child], config: Config) -> dict[str, Any]:
    """Runs a case on all children in turns, and returns its row of results.json."""
    replies = {peer: child.ask("prepare", case) for peer, child in children.items()}
    times: dict[str, list[float]] = {peer: [] for peer in children}
    for turn in range(config.rounds):
        for peer in list(children)[:: -1 if turn % 2 else 1]:
            if "skipped" not in replies[peer]:
                burst = children[peer].ask("burst", config.burst_seconds)
                times[peer] += burst.pop("times", [])
                replies[peer] |= burst
    done = {p: figures(times[p], case) | r for p, r in replies.items() if "skipped" not in r}
    skipped = {p: r["skipped"] for p, r in replies.items() if "skipped" in r}
    ours = done.get("seqjax", {}).get("median_ms")
    ratios = {p: r["median_ms"] / ours for p, r in done.items() if ours and p != "seqjax"}
    return {**case._asdict(), "peers": done, "skipped": skipped, "ratios": ratios}


def figures(times: list[float], case: Case) -> dict[str, Any]:
    low, median, high = (1000 * float(q) for q in np.percentile(times, (25, 50, 75)))
    row = {"median_ms": median, "min_ms": 1000 * min(times), "interval": [low, high]}
    if case.suite == "generation":
        row["tokens_per_second"] = 1000 * case.batch * case.steps / median
    return row | {"calls": len(times)}


def machine() -> dict[str, Any]:
    """Where and with what the figures were made."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text() if info.exists() else "")
    packages = "jax jaxlib torch flax dm-haiku equinox keras numpy".split()
    installed = {d.name.lower(): d.version for d in importlib.metadata.distributions()}
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "versions": {name: installed[name] for name in packages if name in installed},
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "load_average": os.getloadavg()[0],
    }


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---------------------------------------------------------------- reporting


def title(row: dict[str, Any]) -> str:
    return f"{row['cell']} {shape_of(row)} {row['kind']}"


def shape_of(row: dict[str, Any]) -> str:
    return "x".join(str(row[name]) for name in Case._fields[3:])


def show(row: dict[str, Any]) -> str:
    """A case in one line: medians, and ratios in brackets."""
    parts = []
    for peer, figure in row["peers"].items():
        rate = figure.get("tokens_per_second")
        parts.append(f"  {peer} {figure['median_ms']:.4g} ms")
        parts += [f", {rate:,.0f} tokens/s"] if rate else []
        parts += [f" ({row['ratios'][peer]:.2f})"] if peer in row["ratios"] else []
    parts += [f"  [{peer}: {why}]" for peer, why in row["skipped"].items()]
    return f"{title(row)}:{''.join(parts)}"


def report(workdir: Path, results: dict[str, Any]) -> None:
    """Adds to `results` what follows from the cases, and writes all files."""
    lines = growth_lines(results["cases"])
    results["geometric_means"] = geometric_means(results["cases"])
    results["growth_exponents"] = {
        name: float(np.polyfit(np.log([x for x, _ in line]), np.log([y for _, y in line]), 1)[0])
        for name, line in lines.items()
        if len({x for x, _ in line}) > 1
    }
    write_json(workdir / "results.json", results)
    text = table(results)
    (workdir / "table.md").write_text(text, encoding="utf-8")
    draw_ratios(workdir / "ratios.png", results["cases"])
    draw_growth(workdir / "growth.png", lines, results["growth_exponents"])
    print(f"\n{text}\nresults.json, table.md and figures are in {workdir}")


def geometric_means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Over the training of LSTMs and GRUs: seqjax's speed as a multiple of each peer's.

    By medians, and by the fastest calls, which other programs disturb less.
    """
    rows = [r for r in rows if (r["suite"], r["kind"]) == ("peers", "train") and r["ratios"]]
    rows = [row for row in rows if row["cell"] in ("lstm", "gru")]
    means = {}
    for ours in (("seqjax",), ("seqjax", "seqjax_2dev")):
        for field in ("median_ms", "min_ms"):
            logs: dict[str, list[float]] = {peer: [] for peer in PEERS if peer not in ours}
            for times in ({p: f[field] for p, f in row["peers"].items()} for row in rows):
                best = min(times[peer] for peer in ours if peer in times)
                for peer in logs.keys() & times.keys():
                    logs[peer].append(math.log(times[peer] / best))
            name = f"{' or '.join(ours)}, {field}"
            means[name] = {p: math.exp(float(np.mean(found))) for p, found in logs.items() if found}
    return means


def growth_lines(rows: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """The suite growth: `{"T, lstm, plain": [(T, median ms), ...], ...}`, and over H."""
    lines: dict[str, list[tuple[int, float]]] = {}
    rows = [row for row in rows if row["suite"] == "growth"]
    for row in rows:
        widths = {other["hidden_size"] for other in rows if other["batch"] == row["batch"]}
        axis, size = ("H", row["hidden_size"]) if len(widths) > 1 else ("T", row["steps"])
        for peer, figure in row["peers"].items():
            name = f"{axis}, {row['cell']}, {peer}"
            lines.setdefault(name, []).append((size, figure["median_ms"]))
    return lines


def table(results: dict[str, Any]) -> str:
    """Markdown: a table for each suite, and what follows from them."""
    text = ""
    for suite in SUITES:
        rows = [row for row in results["cases"] if row["suite"] == suite]
        peers = [p for p in PEERS if p != "seqjax" and any(p in row["ratios"] for row in rows)]
        lines = [[f"{suite}, BxTxDxHxlayers", "seqjax, ms", *peers], ["---"] * (2 + len(peers))]
        for row in rows:
            ours = (
                f"{row['peers']['seqjax']['median_ms']:.4g}"
                if "seqjax" in row["peers"]
                else "failed"
            )
            ratios = [f"{row['ratios'][p]:.2f}" if p in row["ratios"] else "" for p in peers]
            lines.append([title(row), ours, *ratios])
        if rows:
            text += "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"
    text += "A peer's time as a multiple of seqjax's: above 1, seqjax is faster.\n"
    for name, means in results["geometric_means"].items():
        shown = ", ".join(f"{peer} {mean:.2f}" for peer, mean in means.items())
        text += f"\nGeometric mean over LSTM and GRU training, {name}: {shown}.\n" if shown else ""
    for name, exponent in results["growth_exponents"].items():
        text += f"\nTime grows as {name[0]} to the power {exponent:.2f} ({name[3:]}).\n"
    for row in results["cases"]:
        for peer, figure in row["peers"].items():
            if rate := figure.get("tokens_per_second"):
                text += f"\n{title(row)}, {peer}: {rate:,.0f} tokens/s.\n"
    return text


def draw_ratios(path: Path, rows: list[dict[str, Any]]) -> None:
    """seqjax's speed as a multiple of each peer's, a panel for each cell; forward left out."""
    rows = [r for r in rows if r["suite"] == "peers" and r["kind"] != "forward" and r["ratios"]]
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    shapes = list(dict.fromkeys(f"{shape_of(row)}\n{row['kind']}" for row in rows))
    peers = [p for p in PEERS if p != "seqjax" and any(p in row["ratios"] for row in rows)]
    if not peers:
        return
    figure, panels = plots.plt.subplots(
        1,
        len(cells),
        figsize=(3 + 3 * len(cells), 2 + len(shapes) * (0.1 * len(peers) + 0.3)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, cell in zip(panels[0], cells, strict=True):
        own = {f"{shape_of(row)}\n{row['kind']}": row for row in rows if row["cell"] == cell}
        for i, peer in enumerate(peers):
            axes.barh(
                [k - 0.4 + 0.8 * (i + 0.5) / len(peers) for k in range(len(shapes))],
                [own[s]["ratios"].get(peer, 1) - 1 if s in own else 0 for s in shapes],
                0.8 / len(peers),
                left=1,
                label=peer,
                color=plots.COLOURS[i % len(plots.COLOURS)],
                hatch=HATCHES[i % len(HATCHES)],
                edgecolor="white",
                linewidth=0.3,
            )
        axes.axvline(1, color="black", linewidth=1)
        axes.set_xscale("log", base=2)
        axes.set(title=cell, xlabel="speed of seqjax, peer = 1")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set(ylabel="batch x steps x inputs x units x layers")
    panels[0][0].set_yticks(range(len(shapes)), shapes)
    panels[0][0].invert_yaxis()
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside right upper", frameon=False
    )
    figure.savefig(path, dpi=150)
    plots.plt.close(figure)


def draw_growth(path: Path, lines: dict[str, list], exponents: dict[str, float]) -> None:
    """Time of a training step over T, and over H."""
    titles = {"T": "steps T", "H": "inputs D and units H"}
    axes_names = [axis for axis in titles if any(name.startswith(axis) for name in lines)]
    if not lines:
        return
    figure, panels = plots.plt.subplots(
        1, len(axes_names), figsize=(4.5 * len(axes_names), 4), squeeze=False, layout="constrained"
    )
    for panel, axis in zip(panels[0], axes_names, strict=True):
        for i, name in enumerate(name for name in lines if name.startswith(axis)):
            label = f"{name[3:]}: power {exponents.get(name, math.nan):.2f}"
            style = {"color": plots.COLOURS[i % 6], "marker": "os^v"[i % 4], "label": label}
            panel.loglog(*zip(*lines[name], strict=True), plots.LINES[i % 4], **style)
        panel.set(xlabel=titles[axis], ylabel="ms for one training step")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plots.plt.close(figure)


def main(config: Config) -> None:
    run(config)


if __name__ == "__main__":
    cli.run(main, Config)
