"""Somebody has been at the files of a run, and it goes on: nothing is lost, whatever he did.

Each case copies a run that was stopped, or one that is finished, does to it some of what is drawn
(links, pipes, lists of sums and folders that are gone, states of another run, another text, folders
that go away while it runs), and lets it go on. It has to reach the end of the run that was left alone,
or to say in one sentence why it does not. With `--long` as many cases as `--cases` says.
"""

import collections
import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import re
import shutil
import signal
import stat
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import char_lm
from experiments.char_lm import program
from experiments.common import cli
from seqjax.runs.session import Session
from tests.support.tiers import cases

pytestmark = pytest.mark.whole

CONFIG = char_lm.Config(
    hidden_size=3,
    seq_len=4,
    batch_size=2,
    data="text.txt",
    workdir="run",
    steps=12,
    eval_every=4,
    save_every=2,
    sample_every=0,
    length=4,
    ngram_order=1,
    learning_rate=3.0,  # so high that the best state is the first of three
    schedule="constant",
    warmup_steps=12,
)
STOPPED_AT = 7
OTHERS = {"another seed": {"seed": 1}, "another rate": {"learning_rate": 2.0}}
MINE = ("notes.txt", "tensorboard/notes.txt", "checkpoints/last/12.mine/notes.txt")
WRITTEN_ANEW = ("lock", "config.json", "vocabulary.json")  # as soon as a run goes on
SECONDS = 60


# ---------------------------------------------------------------- the runs


def go_on(config, at=None, do=None, tell=lambda step: None):
    """`(exit code, what stood on stderr)`; at a step, once its row is written, something is done."""
    original, said = Session.log, io.StringIO()

    def log(self, step, split, **values):
        tell(step)
        original(self, step, split, **values)
        if step == at and split == "train":
            do()

    def late(number, frame):
        raise BaseException(f"no end within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
            patch.setattr(Session, "log", log)
            with contextlib.redirect_stdout(io.StringIO()), cli._sentences():
                program.run(config)
        return 0, said.getvalue()
    except SystemExit as end:
        return end.code, said.getvalue()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A directory with the runs that are copied: stopped, finished, and stopped ones of others."""
    root = tmp_path_factory.mktemp("runs")
    with contextlib.chdir(root):
        Path("text.txt").write_text("the cat sat on the mat, and the dog did not.\n" * 30)
        Path("other.txt").write_text("the dog sat on the mat, and the cat did not.\n" * 30)
        for name, changes in {"stopped": {}, **OTHERS}.items():
            config = dataclasses.replace(CONFIG, **changes, workdir=name)
            stop = (STOPPED_AT, lambda: signal.raise_signal(signal.SIGTERM))
            assert go_on(config, *stop)[0] == 143
        shutil.copytree("stopped", "finished")
        assert go_on(dataclasses.replace(CONFIG, workdir="finished", resume=True))[0] == 0
        best = [max(sound(Path(name), "best")) for name in ("stopped", "finished", *OTHERS)]
        assert best == [4] * 4
    yield root
    print(f"attacked runs: {dict(sorted(OUTCOMES.items()))}", file=sys.__stderr__)


OUTCOMES = collections.Counter()


@contextlib.contextmanager
def copies(runs, which):
    """The working directory: a run, the runs of others, texts, and what is precious to somebody."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as name, contextlib.chdir(name):
        shutil.copytree(runs, ".", dirs_exist_ok=True)
        shutil.copytree(which, "run")
        Path("precious").mkdir()
        Path("precious/file").write_text('{"kept": 1}\n')
        Path("away").mkdir()
        for mine in MINE:
            Path("run", mine).parent.mkdir(exist_ok=True)
            Path("run", mine).write_text("kept")
        yield


# ---------------------------------------------------------------- what is done to them


def move_away(place):
    path = Path("run", place)
    if os.path.lexists(path):
        path.rename(Path("away", f"{len(os.listdir('away'))}"))


TRAPS = {
    "link": lambda path: path.symlink_to(Path.cwd() / "precious/file"),
    "link to a folder": lambda path: path.symlink_to(Path.cwd() / "precious"),
    "link into another run": lambda path: path.symlink_to(
        Path.cwd() / "another seed" / path.relative_to("run")
    ),
    "link to nothing": lambda path: path.symlink_to(Path.cwd() / "precious/none"),
    "hard link": lambda path: path.hardlink_to("precious/file"),
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
}


def lay_trap(place, trap):
    """Instead of what was there."""
    move_away(place)
    path = Path("run", place)
    if path.parent.is_dir() and path.parent.resolve() == path.parent.absolute():
        TRAPS[trap](path)


def remove_lists(kind, which):
    """The newest list of sums, the one before, or all of them."""
    for path in sorted(Path("run/checkpoints", kind).glob("[0-9].sha256"))[which]:
        path.unlink()


def swap(place, other):
    """The states of another run in the place of this one's."""
    move_away(place)
    if Path("run", place).parent.is_dir():
        shutil.copytree(Path(other, place), Path("run", place))


def change_text():
    shutil.copy("other.txt", "text.txt")


FOLDERS = ("tensorboard", "checkpoints", "checkpoints/last", "checkpoints/best")
FILES = ("config.json", "metrics.jsonl", "vocabulary.json", "results.json", "sample.txt")
STATES = [
    f"checkpoints/{kind}/{step}{suffix}"
    for kind in ("last", "best")
    for step in (6, 7, 8, 12)
    for suffix in ("", ".sha256", ".unfinished")
]
PLACES = st.sampled_from((*FILES, "curve.png", "lock", *FOLDERS)) | st.sampled_from(STATES)
PARTIALS = st.sampled_from((*FILES, "curve.png", "checkpoints/last/8.sha256")).map(
    "{}.partial".format
)
BEFORE = st.one_of(
    st.tuples(st.just(lay_trap), PLACES | PARTIALS, st.sampled_from(sorted(TRAPS))),
    st.tuples(st.just(move_away), PLACES),
    st.tuples(
        st.just(remove_lists),
        st.sampled_from(("last", "best")),
        st.sampled_from((slice(-1, None), slice(-2, -1), slice(None))),
    ),
    st.tuples(st.just(swap), st.sampled_from(FOLDERS[1:]), st.sampled_from(sorted(OTHERS))),
    st.tuples(st.just(change_text)),
)
DURING = st.tuples(
    st.integers(STOPPED_AT + 1, CONFIG.steps),
    st.tuples(st.just(move_away), st.sampled_from(("", "metrics.jsonl", *FOLDERS)))
    | st.tuples(
        st.just(lay_trap),
        st.sampled_from(("", "metrics.jsonl", *FOLDERS)),
        st.sampled_from(sorted(TRAPS)),
    ),
)


# ---------------------------------------------------------------- what must be so afterwards


def snapshot(*tops):
    """Of every path below: a file's bytes, where a link leads, or what else it is."""
    found = {}
    for top in tops:
        for folder, names, files in os.walk(top):
            for path in (Path(folder, name) for name in (*names, *files)):
                mode = path.lstat().st_mode
                found[path] = (
                    path.read_bytes()
                    if stat.S_ISREG(mode)
                    else os.readlink(path)
                    if stat.S_ISLNK(mode)
                    else stat.S_IFMT(mode)
                )
    return found


def outside():
    return snapshot(*(path for path in Path().iterdir() if path.name != "run"))


def sound(run, kind):
    """The steps whose files are all there and as their list of sums says."""
    folder = run / "checkpoints" / kind
    if folder.resolve() != folder.absolute() or not folder.is_dir():
        return []
    files = snapshot(folder)
    steps = []
    for path, text in files.items():
        if re.fullmatch(r"\d+\.sha256", path.name) and isinstance(text, bytes):
            lines = text.decode(errors="replace").splitlines()
            found = [re.fullmatch("([0-9a-f]{64})  (.+)", line) for line in lines]
            data = [files.get(folder / line[2]) if line else None for line in found]
            sums = [isinstance(d, bytes) and hashlib.sha256(d).hexdigest() for d in data]
            steps += (
                [int(path.stem)] if found and sums == [line and line[1] for line in found] else []
            )
    return sorted(steps)


def rows_until(data, step):
    rows = data.splitlines(keepends=True)
    return b"".join(row for row in rows if json.loads(row)["step"] <= step)


class Look:
    """What is there now."""

    def __init__(self):
        self.outside, self.run = outside(), snapshot("run")
        self.sound = {kind: sound(Path("run"), kind) for kind in ("last", "best")}
        self.newest = max(self.sound["last"], default=None)
        self.rows = self.run.get(Path("run/metrics.jsonl"))

    def has_begun(self):
        """Whether anything shows that a run has trained here."""
        return bool(self.rows) or any(
            re.match(r"run/checkpoints/(last|best)/\d+(\.sha256)?$", path.as_posix())
            for path in self.run
        )


def check_nothing_is_lost(before, after, refused, attacked_meanwhile):
    for path, was in before.outside.items():
        now = after.outside.get(path)
        if attacked_meanwhile and path.parts[0] == "away" and isinstance(now, bytes):
            now = now[: len(was)]  # a file of the run's own that was open
        assert now == was, path
    for mine in (path for path in before.run if path.name == "notes.txt"):
        assert after.run.get(mine) == before.run[mine], mine
    until = math.inf if attacked_meanwhile else before.newest
    if isinstance(before.rows, bytes) and until is not None:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # it is no file of rows
            rows = rows_until(before.rows, until)
            assert after.rows.startswith(rows)
    for kind, steps in before.sound.items():
        kept = [step for step in steps if before.newest is not None and step <= before.newest]
        assert max(after.sound[kind], default=-1) >= max(kept, default=-1), kind
    if refused:  # not a file is changed, but for what is written anew in any case
        for path, was in before.run.items():
            name = path.relative_to("run").as_posix()
            best = re.match(r"checkpoints/best/(\d+)", name)
            redone = best and before.newest is not None and int(best[1]) > before.newest
            if name not in (*WRITTEN_ANEW, "metrics.jsonl") and isinstance(was, bytes):
                assert redone or after.run.get(path) == was, path


def check_is_one_sentence(code, said):
    assert code in (1, 2)
    assert len(re.findall(r"^error: [^\n]+\.$", said, re.M)) == 1, said
    assert "Traceback" not in said


def check_is_the_same_end(said, attacked):
    """As of the run that was left alone."""
    run, finished = Path("run"), Path("finished")
    if "checkpoints/best is damaged" not in said:  # it was told which state is used instead
        results = [json.loads((d / "results.json").read_text())["results"] for d in (run, finished)]
        assert results[0] == results[1]
    if "metrics.jsonl" not in attacked:
        rows = [(d / "metrics.jsonl").read_bytes() for d in (run, finished)]
        assert rows[0] == rows[1]


@hypothesis.settings(cases(3, hypothesis.settings.default.max_examples))
@given(
    which=st.sampled_from(("stopped", "stopped", "finished")),
    attacks=st.lists(BEFORE, max_size=2),
    meanwhile=st.none() | DURING,
)
def test_an_attacked_run_goes_on_to_its_end_or_says_why_not(runs, which, attacks, meanwhile):
    with copies(runs, which):
        for attack, *arguments in attacks:
            attack(*arguments)
        start = Look()
        looks, trained = [start], []

        def attack_now():
            if meanwhile:
                attack, *arguments = meanwhile[1]
                attack(*arguments)
                looks.append(Look())

        config = dataclasses.replace(CONFIG, resume=True)
        code, said = go_on(config, meanwhile and meanwhile[0], attack_now, trained.append)
        after = Look()
        OUTCOMES["reached their end" if code == 0 else "refused" if not trained else "stopped"] += 1
        check_nothing_is_lost(looks[-1], after, code and not trained, len(looks) > 1)
        if code:
            assert attacks or meanwhile
            check_is_one_sentence(code, said)
        elif start.newest is None:
            assert not start.has_begun()  # nothing was left of it: it began anew
        else:
            assert (change_text,) not in attacks
            if len(looks) == 1:
                check_is_the_same_end(said, [place for _, *places in attacks for place in places])
