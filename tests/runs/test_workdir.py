"""The directory of a run: one run at a time, no trace of bad input, nothing of anybody else's."""

import concurrent.futures
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
import traceback
from pathlib import Path

import pytest

from seqjax.errors import InputError, RunError
from seqjax.runs.workdir import open_workdir


def test_a_directory_is_locked_and_freed(tmp_path):
    path = str(tmp_path / "run")
    with open_workdir(path, name="x", resume=False) as workdir:
        (workdir / "config.json").write_text("{}")
        with pytest.raises(RunError, match=r"in use by process \d+ on .* for 0:00:0"):
            open_workdir(path, name="x", resume=True).__enter__()
    with open_workdir(path, name="x", resume=True):
        pass
    with pytest.raises(InputError, match="holds a run already"):
        open_workdir(path, name="x", resume=False).__enter__()


def test_bad_input_leaves_no_directory(tmp_path):
    def fail():
        with open_workdir(str(tmp_path / "new" / "run"), name="x", resume=False):
            raise InputError("no.")

    with pytest.raises(InputError, match=r"no\."):
        fail()
    assert not (tmp_path / "new" / "run").exists()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "run" / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match=r"cannot open .*lock: "):
        open_workdir(str(tmp_path / "run"), name="x", resume=False).__enter__()
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("kind", ["hard link", "pipe", "file of somebody"])
def test_a_lock_that_is_not_ours_is_left_alone(kind, tmp_path):
    (tmp_path / "run").mkdir()
    lock, precious = tmp_path / "run" / "lock", tmp_path / "precious"
    precious.write_text("kept")
    if kind == "hard link":
        lock.hardlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.write_text("kept")
    with pytest.raises(InputError, match="lock is no lock of a run"):
        open_workdir(str(tmp_path / "run"), name="x", resume=False).__enter__()
    assert precious.read_text() == "kept"
    assert kind == "pipe" or lock.read_text() == "kept"


def test_a_directory_that_was_there_stays_and_has_no_lock_left(tmp_path):
    with open_workdir(str(tmp_path), name="x", resume=False) as workdir:
        assert json.loads((workdir / "lock").read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())
    (tmp_path / "lock").write_text('{"pid": 1, "host": "a", "since": "2000-01-01T00:00:00"}\n')
    with open_workdir(str(tmp_path), name="x", resume=True):  # of a process that was killed
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "checkpoints"])
def test_a_run_is_known_by_each_of_its_files(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=rf"already \({name}\): go on with resume=True"):
        open_workdir(str(tmp_path), name="x", resume=False).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/best", "tensorboard", "population"])
def test_folders_that_lead_into_another_run_are_refused(name, tmp_path):
    link = tmp_path / "run" / name
    link.parent.mkdir(parents=True)
    (tmp_path / "other").mkdir()
    link.symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match=rf"{name} is a link, and a run writes"):
        open_workdir(str(tmp_path / "run"), name="x", resume=True).__enter__()


@pytest.mark.parametrize("how", ["removed", "moved", "made anew"])
def test_a_directory_that_goes_away_is_an_error_at_the_end(how, tmp_path):
    path = tmp_path / "run"

    def run():
        with open_workdir(str(path), name="x", resume=False) as workdir:
            if how == "moved":
                workdir.rename(tmp_path / "elsewhere")
            else:
                shutil.rmtree(workdir)
            if how == "made anew":
                path.mkdir()
                (path / "lock").write_text("of another run")

    with pytest.raises(RunError, match="run was removed, moved or replaced during the run"):
        run()
    if how == "made anew":
        assert (path / "lock").read_text() == "of another run"


def test_runs_of_one_second_have_directories_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = set()
    for _ in range(4):
        with open_workdir("", name="x", resume=False) as workdir:
            (workdir / "config.json").write_text("{}")
            names.add(workdir)
    assert len(names) == 4
    assert {path.parent for path in names} == {Path("runs")}


# ---------------------------------------------------------------- many at once


@pytest.fixture(scope="module")
def starts():
    """Runs `race` in a process of its own: one with little in memory forks quickly."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        yield lambda *arguments: pool.submit(race, *arguments).result()


def race(count, path, body):
    """Exit codes of so many processes that open a directory at the same moment: `body`'s, or 100
    after an error in one sentence."""
    go_at = time.time() + 0.02 + count / 2000
    children = []
    sys.stdout.flush()
    for number in range(count):
        pid = os.fork()
        if not pid:
            code = 99
            try:
                time.sleep(max(0.0, go_at - time.time()))
                with open_workdir(path, name="x", resume=False) as workdir:
                    code = body(number, workdir)
            except (InputError, RunError) as error:
                code = 100 if str(error).endswith(".") else 98
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def write_config(number, workdir):
    (workdir / "config.json").write_text(str(number))
    time.sleep(0.002)
    return 0


def leave_or_write(number, workdir):
    if number % 2:
        raise InputError("bad input.")
    (workdir / f"mine{number}").write_text("")
    time.sleep(0.001)
    (workdir / f"mine{number}").unlink()  # an error if the directory is gone
    return 0


@pytest.mark.long
def test_of_many_starts_one_goes_on_and_keeps_its_directory(tmp_path, starts, long):
    """200 starts, of two to twenty processes each."""
    rng = random.Random(0)
    count_of_starts = 0
    while count_of_starts < (2000 if long else 200):
        path = tmp_path / "run"
        count = rng.randint(2, 20)
        codes = starts(count, str(path), write_config)
        assert sorted(codes) == [0] + [100] * (count - 1)
        assert (path / "config.json").read_text() == str(codes.index(0))
        assert [p.name for p in path.iterdir()] == ["config.json"]
        shutil.rmtree(path)
        count_of_starts += count
    if long:
        print(f"{count_of_starts} simultaneous starts, no directory lost", file=sys.__stderr__)


@pytest.mark.long
def test_of_many_starts_with_bad_input_none_takes_another_ones_directory(tmp_path, starts, long):
    """Some hold the directory for a while and write; the others leave at once."""
    for _ in range(100 if long else 10):
        codes = starts(20, str(tmp_path / "new"), leave_or_write)
        assert set(codes) <= {0, 100}
        shutil.rmtree(tmp_path / "new", ignore_errors=True)


@pytest.mark.long
def test_many_starts_without_a_name_all_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # before the pool's process is made, which begins there
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        assert set(pool.submit(race, 50, "", write_config).result()) == {0}
    assert len(list(tmp_path.glob("runs/*/config.json"))) == 50
