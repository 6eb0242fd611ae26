"""Engines: every record once, whatever dies meanwhile, and the same numbers on all of them."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments.common.cli import checked
from experiments.forget_bias.program import Config as Study
from seqjax.errors import InputError, RunError
from seqjax.search.engines import here, local, on_ray, on_slurm
from seqjax.search.engines.records import evaluate, versions_here

SQUARE, SOMETIMES = ("tests.support.evaluations:" + name for name in ("square", "sometimes"))


def rows(engine, function, records):
    """All results by name, each of which came once."""
    found = {}
    with contextlib.closing(engine(function, records)) as results:
        for item in results:
            if item is not None:
                name, result = item
                assert name not in found
                found[name] = result
    assert found.keys() == records.keys()
    return found


def squares(engine, count=12, **more):
    records = {f"of {x}": {"x": x, **more} for x in range(count)}
    found = rows(engine, SQUARE, records)
    assert {n: r.row["square"] for n, r in found.items()} == {f"of {x}": x**2 for x in range(count)}
    return {result.row["pid"] for result in found.values()}


def test_here_and_on_all_cores():
    assert squares(here) == {os.getpid()}
    pids = squares(local(2), seconds=0.05)
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert rows(local(2), SQUARE, {}) == {}


def test_what_always_fails_is_set_aside_and_the_rest_done(tmp_path):
    """One that raises is begun once; one whose process dies three times; one that dies twice is done."""
    records = {str(x): {"x": x, "folder": str(tmp_path)} for x in range(6)}
    records["1"]["raises"] = True
    records["2"]["dies"] = 99
    records["3"]["dies"] = 2
    found = rows(local(2), SOMETIMES, records)
    assert found["1"].row is None
    assert found["1"].error.startswith("ValueError: x = 1")
    assert found["2"].row is None
    assert "died, 3 times" in found["2"].error
    for x in (0, 3, 4, 5):
        assert found[str(x)].row == {"square": x**2}
    begun = {p.name: len(p.read_text().splitlines()) for p in tmp_path.iterdir()}
    assert begun == {"0": 1, "1": 1, "2": 3, "3": 3, "4": 1, "5": 1}


def test_what_json_cannot_hold_is_the_evaluations_fault():
    found = rows(local(1), "tests.support.evaluations:array", {"a": {}})
    assert found["a"].error.startswith("TypeError")


def test_a_process_that_cannot_be_started_is_said(monkeypatch):
    def refused(*arguments, **options):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", refused)
    found = rows(local(1), SQUARE, {"a": {"x": 1}, "b": {"x": 2}})
    assert all("Cannot allocate memory" in result.error for result in found.values())


def test_where_code_is_sent_is_never_read_from_a_file():
    config = {"engine": "ray", "cluster": "ray://elsewhere:1", "workers": 3, "seed": 5}
    assert checked(Study, config, "a file") == {"seed": 5}


def test_whoever_stops_asking_leaves_no_process():
    results = local(2)(SQUARE, {str(x): {"x": x, "seconds": 60 * (x > 1)} for x in range(9)})
    pids = {item[1].row["pid"] for item in (next_one(results), next_one(results))}
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 5
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def next_one(results):
    return next(item for item in results if item is not None)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_processes_that_know_nothing_of_each_other_take_cores_of_their_own(tmp_path):
    """As on a Ray node: each has the first core whose lock is free, and the lock ends with it."""
    take = (
        "import os, sys; from seqjax.search.engines.own_core import take_a_core; take_a_core();"
        " take_a_core(); print(*os.sched_getaffinity(0), flush=True); sys.stdin.read()"
    )
    begin = functools.partial(
        subprocess.Popen,
        [sys.executable, "-c", take],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},  # no locks but their own
    )
    count = min(2, len(os.sched_getaffinity(0)))
    taken = set()
    processes = [begin() for _ in range(count)]
    try:
        for process in processes:
            core = process.stdout.readline().split()
            assert len(core) == 1
            taken.add(core[0])
        assert len(taken) == count
    finally:
        for process in processes:
            process.communicate("")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_each_process_has_a_core_of_its_own():
    cores = sorted(os.sched_getaffinity(0))
    count = min(2, len(cores))
    records = {str(x): {} for x in range(count)}
    found = rows(local(count), "tests.support.evaluations:core", records)
    assert sorted(r.row["cores"] for r in found.values()) == [[c] for c in cores[:count]]


def test_other_versions_and_no_function_are_refused():
    result = evaluate(SQUARE, {"x": 2}, versions_here() | {"jax": "0.0.1"})
    assert result.row is None
    assert "other versions than the driver: jax" in result.error
    assert evaluate(SQUARE, {"x": 2}, versions_here()).row["square"] == 4
    assert "is no function" in evaluate("no.such:thing", {}, {}).error
    with pytest.raises(InputError, match="is no function"):
        list(here("tests.support.evaluations:nothing", {"a": {}}))


@pytest.mark.long
def test_sigkill_of_workers_at_random_moments():
    rng, done, kills = np.random.default_rng(0), {}, 0
    records = {str(x): {"x": x, "seconds": 0.2} for x in range(60)}
    with contextlib.closing(local(2)(SQUARE, records)) as results:
        for item in results:
            if item is not None:
                name, result = item
                assert name not in done
                done[name] = result
                if rng.random() < 0.3 and kills < 12:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(result.row["pid"], signal.SIGKILL)
                        kills += 1
    assert kills > 5
    assert {name: r.row["square"] for name, r in done.items()} == {str(x): x**2 for x in range(60)}


@pytest.fixture(name="engine", params=["local", "ray"])
def engine_flags(request):
    """The flags of an engine; Ray's cluster is there before the driver, and outlives it."""
    if request.param == "local":
        yield ["--engine=local"]
        return
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        yield ["--engine=ray", f"--cluster={cluster.address}"]
    finally:
        cluster.shutdown()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_a_driver_that_is_killed_asks_only_for_what_is_missing(tmp_path, engine):
    """The study of the forget bias elsewhere, killed and resumed, has the rows of one here."""
    flags = ["--updates=100", "--hidden_size=4", "--length=10", "--seeds=2", "--networks=GRU;tanh"]

    def study(workdir, *more, kill_after=0.0):
        command = [sys.executable, "-m", "experiments.forget_bias", *flags, *more]
        driver = subprocess.Popen([*command, f"--workdir={workdir}"], stdout=subprocess.DEVNULL)
        ledger, start = workdir / "units.jsonl", time.monotonic()
        while kill_after and time.monotonic() - start < 60:
            if ledger.exists() and len(ledger.read_text().splitlines()) >= kill_after:
                driver.kill()
                break
            time.sleep(0.05)
        return driver.wait(300)

    def lines(workdir):
        return sorted((workdir / "units.jsonl").read_text().splitlines())

    there = tmp_path / "there"
    assert study(tmp_path / "here", "--engine=here") == 0
    assert study(there, *engine, kill_after=2) == -9
    begun = lines(there)
    assert 2 <= len(begun) < len(lines(tmp_path / "here"))
    assert study(there, *engine, "--resume") == 0
    assert set(begun) <= set(lines(there))
    assert lines(there) == lines(tmp_path / "here")


@pytest.mark.long
def test_on_slurms_interface_cancelled_jobs_are_begun_again(tmp_path):
    """By submitit's own processes of this machine; its interface to Slurm is the same."""
    pytest.importorskip("submitit")
    folder = tmp_path / "jobs"
    assert len(squares(on_slurm(folder, cluster="local", workers=3), count=5)) == 5
    begun = tmp_path / "begun"
    begun.mkdir()
    records = {str(x): {"x": x, "folder": str(begun)} for x in range(4)}
    records["1"]["dies"] = 1
    records["2"]["dies"] = 99
    found = rows(on_slurm(folder, cluster="local", workers=4), SOMETIMES, records)
    assert found["1"].row == {"square": 1}
    assert "died, 3 times" in found["2"].error
    assert len((begun / "2").read_text().splitlines()) == 3
    with pytest.raises(RunError, match="cannot use Slurm"):
        on_slurm(folder)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_on_a_cluster_of_two_nodes_whatever_dies(tmp_path):
    """100 records; a worker is killed, then a node, and a third node joins."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        records = {str(x): {"x": x, "seconds": 0.1} for x in range(100)}
        done = {}
        with contextlib.closing(on_ray(cluster.address)(SQUARE, records)) as results:
            for item in results:
                if item is None:
                    continue
                name, result = item
                assert name not in done
                done[name] = result
                if len(done) in (5, 30):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(result.row["pid"], signal.SIGKILL)
                if len(done) == 15:
                    cluster.remove_node(nodes[0], allow_graceful=False)
                    cluster.add_node(num_cpus=1)
        assert {n: r.row and r.row["square"] for n, r in done.items()} == {
            str(x): x**2 for x in range(100)
        }
    finally:
        cluster.shutdown()
    with pytest.raises(RunError, match="cannot reach Ray"):
        rows(on_ray("127.0.0.1:1"), SQUARE, {"a": {"x": 1}})
