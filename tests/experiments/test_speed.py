"""The speed comparison: real runs of tiny shapes, what follows from them, and bad flags."""

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.speed import (
    peers as speed_peers,
)
from experiments.speed import processes
from experiments.speed import (
    products as speed_products,
)
from experiments.speed import (
    program as speed,
)
from experiments.speed import (
    report as speed_report,
)
from experiments.speed import (
    summary as speed_summary,
)
from experiments.speed.layers import seqjax_layer
from experiments.speed.thresholds import OTHERS, set_constants
from experiments.speed.training import PARTS
from experiments.speed.work import Case, Unsupported
from seqjax import InputError, unroll
from seqjax.cells import CELLS
from tests.support.tiers import long_only

INSTALLED = [
    p
    for p, peer in speed_peers.PEERS.items()
    if p not in OTHERS and importlib.util.find_spec(peer.package)
]

# The outputs of every peer in one process, for imports take longer than the work.
OUTPUTS = """
import json, math, sys
import jax
from experiments.speed import peers as speed_peers
from experiments.speed.work import Case, Unsupported
shapes = {}
for peer, *case in json.load(sys.stdin):
    case = Case(*case)
    try:
        outputs = speed_peers.build(peer, case).call()
    except Unsupported as reason:
        outputs = str(reason)
    if case.kind == "train":
        value, (params, xs) = outputs
        leaves = params if peer == "torch" else jax.tree.leaves(params)
        sizes = [math.prod(leaf.shape) for leaf in leaves]
        shapes[f"{peer} train"] = [float(value) != 0, sum(sizes), list(xs.shape)]
    else:
        shape = outputs if isinstance(outputs, str) else list(outputs.shape)
        shapes[f"{peer} {case.cell} {case.kind}"] = shape
print(json.dumps(shapes))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    peers = ",".join(peer for peer in ("torch", "plain") if peer in INSTALLED)
    config = speed.Config(
        peers=peers,
        cells="lstm",
        shapes="2x3x4x4x1,1x1x4x4x1",
        rounds=1,
        burst_seconds=0.01,
        reuse_memory=True,
        fresh=True,
        workdir=str(tmp_path_factory.mktemp("speed")),
    )
    return speed.run(config), Path(config.workdir)


@pytest.mark.long
def test_writes_everything_it_measured(results):
    found, workdir = results
    assert found == json.loads((workdir / "results.json").read_text())
    assert (workdir / "ratios.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(workdir.glob("*.log"))
    assert [row["kind"] for row in found["cases"]] == ["train", "forward", "stream"]
    peers = {"plain", "seqjax"} | {"torch"} & set(INSTALLED)
    for row in found["cases"]:
        assert row["peers"].keys() == peers, row["skipped"]
        for peer, figure in row["peers"].items():
            low, high = figure["interval"]
            assert 0 < figure["min_ms"] <= low <= figure["median_ms"] <= high
            assert figure["calls"] >= 2
            assert figure["compile_seconds"] >= 0
            assert ("temp_bytes" in figure) == (peer != "torch")
            assert ("first_seconds" in figure) == (row["kind"] == "train")
            assert figure.get("peak_rss_bytes", 2**27) > 2**26


@pytest.mark.long
def test_ratios_follow_from_medians(results):
    found, workdir = results
    train = found["cases"][0]
    ours = train["peers"]["seqjax"]["median_ms"]
    table = (workdir / "table.md").read_text()
    assert "seqjax" not in train["ratios"]
    for peer, ratio in train["ratios"].items():
        assert ratio == pytest.approx(train["peers"][peer]["median_ms"] / ours)
        mean = found["geometric_means"]["seqjax, median_ms"][peer]
        assert mean == pytest.approx(ratio)  # of one case
        assert f" {ratio:.2f} " in table
    assert re.search(rf"\| lstm 2x3x4x4x1 train \| {ours:.4g} \|", table)


@pytest.mark.long
def test_every_installed_peer_computes_what_it_should():
    cases, expected = [], {}
    for peer in INSTALLED:
        if peer in ("torch_compile", "torch_layer"):
            continue
        cases.append([peer, "peers", "lstm", "train", 2, 3, 5, 4, 2])
        for cell in ("lstm", "gru", "rnn"):
            cases.append([peer, "peers", cell, "forward", 2, 3, 5, 4, 1])
            expected[f"{peer} {cell} forward"] = [2, 3, 4] if peer == "keras" else [3, 2, 4]
        cases.append([peer, "peers", "lstm", "stream", 2, 1, 5, 4, 1])
        expected[f"{peer} lstm stream"] = [2, 1, 4] if peer == "keras" else [1, 2, 4]
        biases = {"torch": 2, "products": 0, "products_2dev": 0}.get(peer, 1)
        parameters = 16 * (5 + 4 + biases) + 16 * (4 + 4 + biases)
        inputs = [2, 3, 5] if peer == "keras" else [3, 2, 5]
        expected[f"{peer} train"] = [True, parameters, inputs]
    if "equinox" in INSTALLED:
        expected["equinox rnn forward"] = "no rnn"
    for peer in {"torch", "torch_layer", "seqjax", "seqjax_2dev"} & set(INSTALLED):
        for kind in ("greedy", "sample"):
            cases.append([peer, "generation", "lstm", kind, 2, 3, 5, 4, 1])
            expected[f"{peer} lstm {kind}"] = [2, 3]
    environment = speed_peers.ENVIRONMENTS["keras"] | speed_peers.ENVIRONMENTS["seqjax_2dev"]
    environment["XLA_FLAGS"] += " --xla_backend_optimization_level=0"  # compiles faster
    done = subprocess.run(
        [sys.executable, "-c", OUTPUTS],
        cwd=processes.ROOT,
        env=os.environ | environment,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("name", speed_products.GATES)
def test_the_products_alone_are_those_of_the_cell(name):
    """A training step's products, before, in and after its loops: as many, of the same shapes."""

    def made(cell):
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 5))
        xs = jax.ShapeDtypeStruct((3, 2, 5), jnp.float32)
        loss = lambda params, xs: unroll(cell, params, xs)[1].sum()  # noqa: E731
        text = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(params, xs))
        return sorted(re.findall(r":(f32\[[0-9,]*\]) = dot_general", text))

    found = made(speed_products.products_cell(name, 4))
    assert len(found) >= 6
    assert found == made(CELLS[name](4))


def test_growth_is_fitted_and_drawn(tmp_path):
    rows = []
    shapes = [(4, t, 8) for t in (10, 20, 80)] + [(16, 5, h) for h in (8, 16, 32)]
    for batch, steps, size in shapes:
        case = Case("growth", "lstm", "train", batch, steps, size, size, 1)
        times = {"plain": 3e-3 * steps * size**2, "seqjax": 1e-3 * steps * size}
        figures = {peer: {"median_ms": ms, "min_ms": ms} for peer, ms in times.items()}
        ratios = {"plain": times["plain"] / times["seqjax"]}
        rows.append({**case._asdict(), "peers": figures, "skipped": {}, "ratios": ratios})
    results = {"cases": rows}
    speed_report.report(tmp_path, results)
    exponents = {
        "T, lstm, plain": 1,
        "T, lstm, seqjax": 1,
        "H, lstm, plain": 2,
        "H, lstm, seqjax": 1,
    }
    assert results["growth_exponents"] == pytest.approx(exponents)
    assert (tmp_path / "growth.png").is_file()
    assert not (tmp_path / "ratios.png").exists()


def test_means_are_geometric_over_lstm_and_gru_training():
    def row(cell, kind, suite="peers", **times):
        figures = {peer: {"median_ms": ms, "min_ms": ms} for peer, ms in times.items()}
        return {
            "suite": suite,
            "cell": cell,
            "kind": kind,
            "peers": figures,
            "ratios": {"plain": 1},
        }

    rows = [
        row("lstm", "train", seqjax=1, seqjax_2dev=2, plain=2),
        row("gru", "train", seqjax=4, seqjax_2dev=2, plain=32),
        row("gru", "forward", seqjax=4, plain=1),
        row("rnn", "train", seqjax=4, plain=1),
        row("lstm", "train", suite="cells", seqjax=4, plain=1),
    ]
    means = speed_report.geometric_means(rows)
    assert means["seqjax, median_ms"] == pytest.approx({"plain": 4, "seqjax_2dev": 1})
    assert means["seqjax or seqjax_2dev, median_ms"] == pytest.approx({"plain": math.sqrt(32)})


def test_the_summary_takes_our_faster_time_and_each_question_once(tmp_path):
    """Training and inference beside the faster of one and two devices, the rest beside seqjax as it is."""

    def row(cell, kind, **figures):
        peers = {name: {"median_ms": ms, "min_ms": ms} for name, ms in figures.items()}
        return {
            "suite": "peers",
            "cell": cell,
            "kind": kind,
            "peers": peers,
            "ratios": {"torch": 1},
        }

    rows = [
        row("lstm", "train", seqjax=4, seqjax_2dev=2, torch=4, products=3, products_2dev=1),
        row("lstm", "train", seqjax=4, seqjax_2dev=8, torch=2),
        row("gru", "train", seqjax=1, torch=3),
        row("gru", "forward", seqjax=2, torch=1),
        row("rnn", "train", seqjax=1, torch=100),
    ]
    rows[0]["peers"]["torch"] |= {"first_seconds": 3.0, "peak_rss_bytes": 50}
    rows[0]["peers"]["seqjax"] |= {"first_seconds": 2.0, "peak_rss_bytes": 100}
    found = speed_summary.summary(rows)
    assert found == {
        "training, LSTM": {"torch": [2, 0.5], "products": [0.5]},
        "training, GRU": {"torch": [3]},
        "inference, GRU": {"torch": [0.5]},
        "first result": {"torch": [1.5]},
        "peak memory": {"torch": [0.5]},
    }
    assert speed_summary.mean([2, 0.5]) == pytest.approx(1)
    table = speed_summary.markdown(found)
    assert "| training, LSTM | 1.00 | 0.50 |" in table
    assert "| first result | 1.50 |  |" in table
    speed_summary.draw(tmp_path / "figure.png", found)
    assert (tmp_path / "figure.png").stat().st_size > 0


@pytest.mark.long
def test_the_parts_of_an_update_of_everyone(tmp_path):
    peers = ",".join(peer for peer in ("torch", "seqjax_2dev") if peer in INSTALLED)
    size = {"shapes": "2x4x6x5x1", "rounds": 1, "burst_seconds": 0.01}
    config = speed.Config("training", peers=peers, workdir=str(tmp_path / "parts"), **size)
    found = speed.run(config)
    assert [row["kind"] for row in found["cases"]] == ["update", "gradient", "layers"]
    for row in found["cases"]:
        assert row["peers"].keys() == {"seqjax", *peers.split(",")}, row["skipped"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"peers": "torch,jaxx"}, ["--peers", "equinox", "'jaxx'"]),
        ({"cells": "lstn"}, ["--cells", "lstm", "'lstn'"]),
        ({"shapes": "4x100x64x64"}, ["--shapes", "five", "'4x100x64x64'"]),
        ({"shapes": "4x100x64x64x1,4x0x64x64x1"}, ["--shapes", "at least 1", "'4x0x64x64x1'"]),
        ({"shapes": "4xTx64x64x1"}, ["--shapes", "'4xTx64x64x1'"]),
        ({"rounds": 0}, ["--rounds", "got 0"]),
        ({"burst_seconds": -1.0}, ["--burst_seconds", "got -1.0"]),
    ],
)
def test_bad_flags_are_refused_in_one_sentence(fields, words):
    with pytest.raises(InputError) as caught:
        speed.Config(**fields)
    assert re.fullmatch(r"[^\n]+\.", str(caught.value))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("flag", [False, True])
def test_growth_has_processes_that_reuse_memory(tmp_path, monkeypatch, flag):
    started = []

    class Idle(processes.Child):
        def __init__(self, peer, log, reuse_memory):
            started.append((peer, reuse_memory))

        def ask(self, request, argument):
            return {"times": [1.0]} if request == "burst" else {}

        def close(self):
            started.append("closed")

    monkeypatch.setattr(processes, "Child", Idle)
    for name, suite in speed.SUITES.items():
        shapes = "1x1x4x4x1" if name == "generation" else "2x3x4x4x1,2x5x4x4x1"
        monkeypatch.setitem(speed.SUITES, name, suite._replace(shapes=shapes, cells=("lstm",)))
    speed.run(
        speed.Config(suite="all", peers="plain", rounds=1, reuse_memory=flag, workdir=str(tmp_path))
    )
    once = [("plain", True), ("seqjax", True), *["closed"] * 2]
    other = [("plain", False), ("seqjax", False), *["closed"] * 2]
    assert started == (once if flag else [*other, *once, *other])


def test_plan_takes_the_peers_it_is_told():
    def peers(**fields):
        return {tuple(peers) for _, peers in speed.plan(speed.Config(**fields))}

    trained = tuple(name for name, peer in speed_peers.PEERS.items() if peer.build)
    assert peers() == {tuple(peer for peer in trained if peer not in speed.OPTIONAL)}
    assert peers(torch_compile=True, products=True) == {trained}
    assert peers(peers="plain", products=True) == {("plain", "seqjax", "products", "products_2dev")}
    assert peers(peers="torch_compile,plain") == {("torch_compile", "plain", "seqjax")}
    assert peers(suite="all", peers="torch") == {("torch", "seqjax"), ("seqjax",)}
    kinds = {case.kind for case, _ in speed.plan(speed.Config(suite="all"))}
    assert kinds == {"train", "forward", "stream", "greedy", "sample", "beam", *PARTS}


LARGE, LONG = (8, 40, 512, 512, 1), (16, 1000, 128, 128, 1)
DECIDES = {  # a kind of work and a shape at which each of OTHERS makes another program
    "turned_never": ("train", LARGE),
    "turned_from_1_MiB": ("train", (8, 40, 256, 256, 1)),
    "turned_from_8_MiB": ("train", LARGE),
    "turned_in_short_loops": ("train", (8, 4, 512, 512, 1)),
    "turned_in_long_loops": ("train", (8, 20, 512, 512, 1)),
    "one_block": ("train", LONG),
    "blocks_of_a_quarter": ("train", LONG),
    "blocks_of_4_times": ("train", LONG),
    "a_row_as_many": ("forward", (1, 40, 64, 64, 1)),
}


@pytest.mark.parametrize("name", ["turned_never", *map(long_only, sorted(OTHERS))])
def test_other_constants_make_another_program(monkeypatch, name):
    kind, shape = DECIDES[name]
    case = Case("thresholds", "lstm", kind, *shape)

    def text():
        layer = seqjax_layer(case, case.input_size)
        run = lambda params, xs: layer.apply(params, layer.state, xs)[1].sum()  # noqa: E731
        function = jax.grad(run, (0, 1)) if kind == "train" else run
        xs = jnp.zeros((case.steps, case.batch, case.input_size))
        return jax.jit(function).lower(layer.params, xs).as_text()

    before = text()
    assert text() == before
    for module, constant, _ in OTHERS[name]:
        monkeypatch.setattr(module, constant, getattr(module, constant))  # put back at the end
    set_constants(name)
    assert text() != before


@pytest.mark.parametrize("name", [*map(long_only, sorted(OTHERS))])
def test_other_constants_change_no_value(monkeypatch, name):
    kind, shape = DECIDES[name]
    case = Case("thresholds", "lstm", kind, *shape)
    before = jax.tree.leaves(speed_peers.build("seqjax", case).call())
    for module, constant, _ in OTHERS[name]:
        monkeypatch.setattr(module, constant, getattr(module, constant))
    for a, b in zip(before, jax.tree.leaves(speed_peers.build(name, case).call()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(np.abs(b).max()))


def test_both_trainings_run():
    """Ten updates each, of characters at random: the loss of one that guesses, and finite."""
    pytest.importorskip("torch")
    case = Case("training", "lstm", "update", 4, 5, 7, 8, 2)
    metrics = speed_peers.build("seqjax", case).call()
    losses = speed_peers.build("torch", case).call()
    assert len(losses) == 10
    for loss in (float(metrics.values["loss"]), float(np.mean(losses))):
        assert 0.7 * np.log(7) < loss < 1.5 * np.log(7)
    with pytest.raises(Unsupported, match="torch has no such layer"):
        speed_peers.build("torch", case._replace(cell="mamba"))


def test_both_beam_searches_find_the_same():
    pytest.importorskip("torch")
    case = Case("beam", "lstm", "beam", 3, 6, 12, 8, 1)
    tokens, log_probs = speed_peers.build("seqjax", case).call()
    theirs = speed_peers.build("torch", case).call()
    assert np.array_equal(tokens, theirs[0].numpy())
    np.testing.assert_allclose(log_probs, theirs[1].numpy(), rtol=1e-4)
    with pytest.raises(Unsupported, match="one layer of an LSTM"):
        speed_peers.build("seqjax", case._replace(layers=2))
