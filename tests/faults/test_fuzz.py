"""Whatever is read, the answer is a good value or one sentence, soon and in little memory.

About 100 cases of each kind; with `--long` 1,000, or as many as `--cases` says.
"""

import ast
import contextlib
import dataclasses
import fcntl
import gc
import gzip
import hashlib
import importlib
import json
import math
import os
import pickle
import resource
import shutil
import signal
import tempfile
from pathlib import Path

import datasets
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import char_lm, rerun
from experiments.char_lm import sampling
from experiments.char_lm.network import build
from experiments.common import cli, plots
from experiments.lstm_variants.analysis import analyse, read_trials, table
from seqjax import errors
from seqjax.data import (
    Vocabulary,
    batch_at,
    build_vocabulary,
    evaluation_rows,
    load_text,
    training_rows,
)
from seqjax.data import text as text_module
from seqjax.data.sets.piano_rolls import load_piano_rolls
from seqjax.errors import InputError, RunError
from seqjax.files import text as text_files
from seqjax.files.json import DEEPEST, finite, read_json, read_lines, read_object, write_json
from seqjax.models.ngram import witten_bell
from seqjax.runs.checkpoint import Checkpoints
from seqjax.runs.ledger import Ledger
from seqjax.runs.metrics import Records
from seqjax.runs.workdir import check_same, open_workdir
from tests.support.strategies import (
    INTEGERS,
    JSON,
    SCALARS,
    TEXT,
    VALUES,
    bomb,
    damaged,
    encoded,
    files,
    mostly,
)

ROOT = Path(__file__).parents[2]
MODULES = [path for package in ("seqjax", "experiments") for path in (ROOT / package).rglob("*.py")]
SECONDS = 30  # no input may hang; a busy machine may take its time
MEBIBYTES = 300
CASES = hypothesis.settings.default.max_examples
SLOW = hypothesis.settings(max_examples=max(12, CASES // 20))  # files of a checkpoint


class Hang(BaseException):
    """No `except Exception` stops it."""


def outcome(call, *arguments, **options):
    """`(value,)`, or () after an error of the two kinds that is one sentence in one line."""

    def late(number, frame):
        raise Hang(f"no answer within {SECONDS} s")

    before, memory = signal.signal(signal.SIGALRM, late), peak()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        value = (call(*arguments, **options),)
    except (InputError, RunError) as error:
        message = str(error)
        assert message.strip()
        assert message.isprintable(), message  # one line, and no code that a terminal obeys
        assert len(message) < errors.LONGEST * 12  # (an unprintable character takes up to ten)
        note("refused")
        return ()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        assert peak() - memory < MEBIBYTES
    note("accepted")
    return value


def note(word):
    """For `--hypothesis-show-statistics`."""
    if hypothesis.currently_in_test_context():
        hypothesis.event(word)


def peak():
    """The most memory this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def empty_directory():
    """A directory that is the working directory and the home; in memory, where that can be."""
    home, memory = os.environ["HOME"], "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as name, contextlib.chdir(name):
        os.environ["HOME"] = name
        try:
            yield Path(name)
        finally:
            os.environ["HOME"] = home


# ---------------------------------------------------------------- JSON, ledgers, records


@given(put=files(damaged(encoded(JSON))))
def test_json_files(put):
    with empty_directory() as directory:
        path = directory / "a.json"
        put(path)
        for reader in (read_json, read_object, read_lines):
            for value in outcome(reader, path):
                write_json(directory / "b.json", value)  # what was read can be written
                assert read_json(directory / "b.json") == value


PIECES = st.lists(
    st.lists(st.lists(st.one_of(st.integers(19, 110), SCALARS), max_size=3), max_size=3)
)
ROLLS = st.fixed_dictionaries({name: mostly(PIECES, VALUES) for name in ("train", "valid", "test")})


@given(put=files(damaged(encoded(ROLLS.map(json.dumps)))))
def test_piano_rolls(put):
    with empty_directory() as directory:
        path = directory / "a.json"
        put(path)
        for sequences in outcome(load_piano_rolls, path):
            assert all(example.targets.shape[1] == 88 for example in sequences.train)


TRIAL = st.fixed_dictionaries(
    {
        name: mostly(st.floats(0.001, 1), VALUES)
        for name in ("learning_rate", "hidden_size", "noise")
    }
    | {name: mostly(st.floats(0, 0.9), VALUES) for name in ("momentum", "test", "valid")}
    | {name: mostly(st.integers(1, 9), VALUES) for name in ("parameters", "epochs", "best_epoch")}
    | {"variant": mostly(st.just("lstm_peephole"), TEXT)}
)


@given(
    put=files(
        damaged(encoded(st.lists(TRIAL).map(lambda x: "".join(f"{json.dumps(t)}\n" for t in x))))
    )
)
def test_trials(put):
    with empty_directory() as directory:
        path = directory / "trials.jsonl"
        put(path)
        for task, variants in outcome(read_trials, path):
            assert isinstance(table(analyse(task, variants, None)), str)


@given(value=VALUES)
def test_json_comes_back_as_it_was(value):
    text = json.dumps(finite(value))
    with empty_directory() as directory:
        (directory / "a.json").write_text(text)
        assert outcome(read_json, directory / "a.json") == (finite(value),)


@pytest.mark.parametrize(("depth", "accepted"), [(DEEPEST, True), (DEEPEST + 1, False)])
def test_json_has_a_depth(tmp_path, depth, accepted):
    (tmp_path / "a.json").write_text("[" * depth + "]" * depth)
    assert bool(outcome(read_json, tmp_path / "a.json")) == accepted


def test_json_has_a_size(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(10**12)  # takes no room on the disk
    for reader in (read_json, read_lines):
        assert not outcome(reader, tmp_path / "a.json")


def lines_of(*names):
    """JSON lines, most of them objects with these fields."""
    kinds = {"step": st.integers(0, 9), "loss": st.floats() | st.none()}
    good = {name: kinds.get(name, TEXT) for name in names}
    fields = {name: st.sampled_from(("a", 1, 2)) | VALUES for name in names}
    row = mostly(
        st.fixed_dictionaries(good).map(finite).map(json.dumps),
        st.fixed_dictionaries({}, optional=fields).map(json.dumps) | JSON,
    )
    return st.lists(row, max_size=4).map("\n".join).map(lambda s: s + "\n")


@given(
    put=files(damaged(encoded(lines_of("key", "loss")))),
    key=TEXT,
    row=st.dictionaries(TEXT, VALUES),
)
def test_ledgers(put, key, row):
    with empty_directory() as directory:
        path = directory / "cells.jsonl"
        put(path)
        for ledger in outcome(Ledger, path, resume=True):
            with ledger:
                rows = dict(ledger.rows)
                if ledger.get(key) is None:
                    rows[key] = ledger.write(key, row)
            with Ledger(path, resume=True) as again:
                assert again.rows == rows
        for ledger in outcome(Ledger, path, resume=False):
            with ledger:
                assert ledger.rows == {}


@given(
    put=files(
        mostly(encoded(lines_of("step", "split", "loss")), damaged(encoded(JSON))),
    ),
    board=mostly(st.just(lambda path: None), files(st.just(b""))),
    step=st.integers(0, 10),
)
def test_records(put, board, step):
    with empty_directory() as directory:
        put(directory / "metrics.jsonl")
        board(directory / "tensorboard")
        for records in outcome(Records, directory, resume_step=step):
            records.write(step + 1, "train", loss=math.inf)
            records.close()
            rows = read_lines(directory / "metrics.jsonl")
            assert rows.pop() == {"step": step + 1, "split": "train", "loss": None}
            assert all(row["step"] <= step for row in rows)
            assert set(plots.by_split(rows, "loss")) <= {row["split"] for row in rows}


@pytest.mark.parametrize("make", [lambda n: n, lambda n: -n, lambda n: [n]])
def test_numbers_too_large_to_be_written(make):
    value = make(10**5000)
    for check in (errors.check_positive, errors.check_rate, errors.check_fraction):
        assert not outcome(check, "--size", value)
    assert not outcome(cli.checked, char_lm.Config, {"layers": value}, "config.json")


# ---------------------------------------------------------------- working directories


@given(
    name=TEXT
    | st.sampled_from(("", "~", "~no-such-user", "a" * 300, "a/" * 3000, "run", "run/lock")),
    lock=files(encoded(JSON)),
    config=files(encoded(JSON)),
    locked=st.booleans(),
    resume=st.booleans(),
)
def test_working_directories(name, lock, config, locked, resume):
    def enter():
        with open_workdir(path, name="test", resume=resume) as workdir:
            assert workdir.is_dir()
            (workdir / "written").write_text("")

    with empty_directory() as directory, contextlib.ExitStack() as stack:
        path = name if name.startswith("~") or not name else f"{directory}/x/{name}"
        (directory / "x" / "run").mkdir(parents=True)
        lock(directory / "x" / "run" / "lock")
        config(directory / "x" / "run" / "config.json")
        if locked and (directory / "x" / "run" / "lock").is_file():
            file = stack.enter_context((directory / "x" / "run" / "lock").open("rb"))
            fcntl.flock(file, fcntl.LOCK_EX)
            assert name != "run" or not outcome(enter)
        outcome(enter)


@given(saved=st.dictionaries(st.sampled_from(("cell", "layers", "data")), VALUES) | VALUES)
def test_a_saved_config_is_compared(saved):
    outcome(check_same, saved, char_lm.Config(), Path("run"))


# ---------------------------------------------------------------- text

NAMES = st.sampled_from(
    (
        "a.txt",
        "b.txt",
        "a.gz",
        "train.txt",
        "valid.txt",
        "a[b].txt",
        "*",
        "**",
        "?",
        "[!a]",
        ".a",
        "-",
        "zip::a.txt",
        "file:a",
        "a\nb",
        "\x1b[2J",
        "{a,b}",
        "~a",
        "$HOME",
        "%2e",
        "\udcff",
        "x" * 255,
    )
) | TEXT.filter(lambda s: 0 < len(s.encode("utf-8", "surrogatepass")) < 200)
PROSE = st.lists(
    mostly(st.sampled_from(("a b\n", "é漢\r\n", "x\r", "\ufeff", " ")), TEXT), min_size=1
).map("".join)
PACKED = damaged(encoded(PROSE).map(gzip.compress)) | st.sampled_from(
    (bomb(10**5), bomb(5 * 10**6))
)
CONTENTS = files(
    mostly(PROSE.map(lambda s: s.encode(errors="ignore")), damaged(encoded(PROSE)) | PACKED)
)
SOURCES = NAMES | st.lists(
    NAMES | st.sampled_from(("**", "*", "..", "/", "d", "*.txt", "[", "[]", "a" * 5000)), max_size=9
).map("/".join)


def readable(name):
    """Whether a file system takes the name."""
    return not ("/" in name or "\0" in name or name in ("", ".", "..")) and encodable(name)


def encodable(name):
    with contextlib.suppress(UnicodeEncodeError):
        return len(os.fsencode(name)) < 256
    return False


@given(
    tree=st.dictionaries(
        NAMES.filter(readable), files(damaged(encoded(PROSE)) | PACKED), max_size=3
    ),
    source=SOURCES,
    named=mostly(st.just(True), st.just(False)),
    max_chars=mostly(st.sampled_from((0, 1, 7)), INTEGERS),
)
def test_text_from_files(tree, source, named, max_chars):
    with empty_directory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "FREE_BYTES", 10**6)
        patch.setattr(text_module, "MOST_FILES", 20)
        root = directory / "r" / "d"
        root.mkdir(parents=True)
        for name, put in tree.items():
            put(root / name)
        if named and tree:
            source = next(iter(tree))
        for where in (f"{root}/{source}", str(root)):
            for splits in outcome(load_text, where, max_chars=max_chars):
                text = "".join(splits)
                assert text.strip()
                assert "\0" not in text
                assert not max_chars or len(text) <= 3 * max_chars
                text.encode()
                path = root / source
                if where != str(root) and path.is_file() and not max_chars and path.suffix != ".gz":
                    assert text == path.read_text(encoding="utf-8-sig")  # this file and no other


@given(text=PROSE, packed=st.booleans())
def test_good_text_is_read(text, packed):
    text = "a" + text.encode(errors="ignore").decode().replace("\0", "")
    with empty_directory() as directory:
        path = directory / ("a.gz" if packed else "a[*].txt")
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        expected = text.replace("\r\n", "\n").replace("\r", "\n")
        assert outcome(lambda: "".join(load_text(str(path)))) == (expected,)


def test_a_bomb_is_not_unpacked(tmp_path):
    with gzip.open(tmp_path / "a.gz", "wb") as file:
        for _ in range(100):
            file.write(b"a" * (1 << 20))
    assert not outcome(load_text, str(tmp_path / "a.gz"))
    assert outcome(load_text, str(tmp_path / "a.gz"), max_chars=1000)


def test_links_that_lead_up_are_not_followed(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    for name in "bcd":
        (tmp_path / name).symlink_to(".")
    for source in ("", "/**", "/**/*.txt", "/**/**/**/a*", "/**/*.none"):
        for splits in outcome(load_text, f"{tmp_path}{source}"):
            assert "".join(splits) == "text"


@given(
    name=mostly(st.sampled_from(("a", "a/b", "a/b/c")), st.lists(TEXT, max_size=4).map("/".join)),
    reply=mostly(
        st.dictionaries(
            mostly(st.sampled_from(("train", "val", "dev", "validation")), TEXT),
            st.dictionaries(
                st.sampled_from(("text", "a")),
                st.lists(mostly(PROSE, st.none()), min_size=1),
                min_size=1,
            ),
            min_size=2,
        ),
        st.builds(lambda kind, text: kind(text), st.sampled_from((OSError, KeyError)), TEXT),
    ),
)
def test_text_from_the_hub(name, reply):
    def fake(path, config):
        assert not path.startswith((".", "/"))
        if isinstance(reply, Exception):
            raise reply
        strings = datasets.Value("string")
        return {
            split: FakeTable(table, dict.fromkeys(table, strings)) for split, table in reply.items()
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load_dataset", fake)
        outcome(load_text, f"hf:{name}")


class FakeTable(dict):
    def __init__(self, table, features):
        super().__init__(table)
        self.features = features


def test_the_hub_runs_no_code(tmp_path, monkeypatch):
    """A data set whose script is named as itself: older versions of `datasets` ran it."""
    (tmp_path / "evil").mkdir()
    script = "from pathlib import Path\nPath('ran').write_text('')\n"
    (tmp_path / "evil" / "evil.py").write_text(script)
    (tmp_path / "evil" / "evil.pkl").write_bytes(payload(tmp_path / "ran"))
    monkeypatch.chdir(tmp_path)
    assert not outcome(load_text, "hf:evil")
    assert not outcome(load_text, f"hf:{tmp_path}/evil")
    assert not (tmp_path / "ran").exists()


def payload(marker):
    """A pickle that leaves a marker where it is loaded."""

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(marker),))

    return pickle.dumps(Evil())


# ---------------------------------------------------------------- vocabularies, batches, n-grams

TOKENS = st.lists(TEXT, max_size=5).map(lambda tokens: ["<unk>", *tokens])


@given(
    kind=mostly(st.sampled_from(("char", "word")), VALUES),
    tokens=mostly(
        TOKENS | st.lists(st.characters(), unique=True).map(lambda s: ["<unk>", *s]), VALUES
    ),
    text=TEXT,
    ids=st.lists(st.integers(-1, 5) | INTEGERS),
)
def test_vocabularies(kind, tokens, text, ids):
    for vocabulary in outcome(Vocabulary, kind, tokens):
        encoded = vocabulary.encode(text)
        assert all((encoded.ids >= 0) & (encoded.ids < len(vocabulary)))
        if kind == "char" and not encoded.unseen:
            assert vocabulary.decode(encoded.ids) == text
        outcome(vocabulary.decode, ids)


@given(
    kind=mostly(st.sampled_from(("char", "word")), VALUES),
    text=TEXT,
    max_size=mostly(st.integers(0, 5), VALUES),
)
def test_vocabularies_of_texts(kind, text, max_size):
    for vocabulary in outcome(build_vocabulary, kind, text, max_size):
        assert not max_size or len(vocabulary) <= max_size
        if not max_size:
            assert not vocabulary.encode(text).unseen
        Vocabulary(kind, json.loads(json.dumps(vocabulary.tokens)))


@given(
    tokens=st.lists(st.integers(0, 9), max_size=50).map(np.array),
    batch_size=mostly(st.integers(1, 4), SCALARS),
    seq_len=mostly(st.integers(1, 4), SCALARS),
    step=st.integers(0, 2**31 - 1),
)
def test_batches(tokens, batch_size, seq_len, step):
    for rows in outcome(evaluation_rows, tokens, batch_size, seq_len):
        assert rows.weights.sum() == len(tokens) - 1
    for rows in outcome(training_rows, tokens, batch_size, seq_len):
        assert rows.targets.max() <= 9
        if seq_len * batch_size < 100:
            assert batch_at(rows, seq_len, step).inputs.shape == (batch_size, seq_len)


IDS = mostly(st.lists(st.integers(0, 9), min_size=2), st.lists(st.integers(-(2**63), 2**63 - 1)))


@given(
    ids=st.tuples(IDS, IDS),
    floats=mostly(st.just(False), st.just(True)),
    vocab_size=mostly(st.just(10), SCALARS),
    order=mostly(st.integers(1, 5), SCALARS),
)
def test_n_grams(ids, floats, vocab_size, order):
    train, test = (np.array(x, np.float64 if floats else np.int64) for x in ids)
    for loss in outcome(witten_bell, train, test, vocab_size, order):
        assert 0 <= loss < math.inf


# ---------------------------------------------------------------- configs


def with_config():
    """The names of all modules that define the flags of a program."""
    for path in (ROOT / "experiments").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.ClassDef) and node.name == "Config" for node in tree.body):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def values_of(field):
    """Values for a field: its default, what it may nearly be, and any other."""
    kinds = {
        bool: st.booleans(),
        int: st.integers(-1, 5) | INTEGERS,
        float: st.floats() | st.floats(0, 1) | INTEGERS,
        str: st.sampled_from(
            field.metadata["choices"] or ("", "1,2", "lstm", "2x3x4x5x1", ",", "1x1")
        )
        | TEXT,
    }
    return st.just(field.default) | kinds[field.type] | VALUES


@pytest.mark.parametrize("name", sorted(with_config()))
@given(data=st.data())
def test_configs(name, data):
    config_class = importlib.import_module(name).Config
    fields = {f.name: values_of(f) for f in dataclasses.fields(config_class)}
    some = data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True))
    saved = data.draw(mostly(st.fixed_dictionaries({k: fields[k] for k in some}), VALUES))
    for values in outcome(cli.checked, config_class, saved, "config.json"):
        for config in outcome(lambda values=values: config_class(**values)):
            assert all(type(getattr(config, k)) is type(v) for k, v in values.items())
            json.dumps(dataclasses.asdict(config))
            hash(config)


@given(
    saved=st.fixed_dictionaries(
        {
            "experiment": mostly(st.sampled_from(("char_lm", "word_lm")), VALUES),
            "config": mostly(
                st.dictionaries(st.sampled_from(("data", "cell", "layers", "prime")), VALUES),
                VALUES,
            ),
        },
    )
    | VALUES.map(lambda value: {"config": value}),
    results=st.tuples(VALUES, VALUES).map(finite),
)
def test_results_that_shall_be_made_again(saved, results):
    for command in outcome(rerun.command, saved, "results.json", Path("run")):
        assert not any(b"\0" in os.fsencode(word) for word in command)  # the system takes it
    assert rerun.compare(results[0], results[0]) == []
    rerun.compare(*results)


# ---------------------------------------------------------------- checkpoints

TOKENS_OF_MODEL = ["<unk>", "\n", "a", "b"]


def tiny(**changes):
    return char_lm.Config(**{"hidden_size": 2, "batch_size": 1, "seq_len": 1} | changes)


def state_of(step):
    state = build(tiny(seed=step), len(TOKENS_OF_MODEL), 10, 1).state
    return state._replace(step=jnp.int32(step))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory with checkpoints of steps 3 and 7."""
    directory = tmp_path_factory.mktemp("saved") / "best"
    checkpoints = Checkpoints(directory)
    for step in (3, 7):
        record = {"config": dataclasses.asdict(tiny()), "vocabulary": TOKENS_OF_MODEL, "step": step}
        checkpoints.save(state_of(step), record)
    checkpoints.close()
    return directory


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@st.composite
def damages(draw):
    """`(which file, what is done to it)`: `damage(path) -> whether anything changed`."""
    which = draw(st.integers(0, 10**6))
    kind = draw(st.sampled_from(("bytes", "gone", "swap", "directory", "evil", "JSON", "claim")))
    seed = draw(st.integers(0, 10**6))

    def damage(files):
        path, other = files[which % len(files)], files[seed % len(files)]
        before = path.read_bytes()
        random = np.random.default_rng(seed)
        if kind == "bytes":
            data = bytearray(before)
            for place in random.integers(max(len(data), 1), size=random.integers(1, 20)):
                if place < len(data):
                    data[place] = random.integers(256)
            path.write_bytes(bytes(data)[: random.choice([len(data), len(data) // 2])])
        elif kind == "gone":
            path.unlink()
        elif kind == "directory":
            path.unlink()
            path.mkdir()
        elif kind == "swap":
            path.write_bytes(other.read_bytes())
        elif kind == "evil":
            path.write_bytes(payload(path.parents[1] / "ran"))
        elif kind == "JSON":
            path.write_text("[" * 10**5 if seed % 2 else '{"tree_metadata": 1e999}')
        elif kind == "claim":  # in text that stands for sizes
            path.write_bytes(before.replace(b"2", b"2000000000").replace(b"8", b"800000000"))
        return not path.is_file() or path.read_bytes() != before

    return damage


def files_of(directory, step):
    return sorted(p for p in (directory / str(step)).rglob("*") if p.is_file())


def write_sums(directory, step):
    """What an attacker does who knows of the list."""
    lines = (
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(directory).as_posix()}\n"
        for p in files_of(directory, step)
    )
    (directory / f"{step}.sha256").write_text("".join(lines))


@pytest.fixture(scope="module")
def like():
    return jax.eval_shape(lambda: state_of(0))


@SLOW
@given(damage=damages(), listed=st.booleans())
def test_a_damaged_checkpoint_gives_way_to_the_one_before(saved, like, damage, listed):
    with empty_directory() as directory:
        shutil.copytree(saved, directory / "best")
        files = files_of(directory / "best", 7)
        changed = damage([*files, directory / "best" / "7.sha256"] if listed else files)
        checkpoints = Checkpoints(directory / "best")
        with contextlib.closing(checkpoints):
            # Without its list, step 7 was never finished.
            step = 3 if changed else 7
            (state,) = outcome(checkpoints.restore, like)
            assert same(state, state_of(step))
            assert checkpoints.read_record()["step"] == step
            assert not list(directory.rglob("ran"))


# When one of Orbax's readers fails, the others report to an event loop that is closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@SLOW
@given(damage=st.lists(damages(), min_size=1, max_size=2))
@pytest.mark.whole
def test_a_forged_checkpoint_is_no_more_than_wrong_numbers(saved, like, damage):
    with empty_directory() as directory:
        shutil.copytree(saved, directory / "best")
        for change in damage:
            change(files_of(directory / "best", 7))
        write_sums(directory / "best", 7)
        checkpoints = Checkpoints(directory / "best")
        with contextlib.closing(checkpoints):
            restored = outcome(checkpoints.restore, like)
            for state in restored:
                assert [x.shape for x in jax.tree.leaves(state)] == [
                    x.shape for x in jax.tree.leaves(like)
                ]
            if not restored:
                gc.collect()  # so that they report in this test
            outcome(checkpoints.read_record)
            assert not list(directory.rglob("ran"))


@SLOW
@given(data=st.data())
def test_a_record_of_somebody_else(saved, data):
    """Most of them good but for one field."""
    one = data.draw(st.sampled_from(dataclasses.fields(char_lm.Config)))
    config = dataclasses.asdict(tiny()) | {one.name: data.draw(values_of(one))}
    record = {
        "config": data.draw(st.just(config) | st.just(config) | VALUES),
        "vocabulary": data.draw(
            st.just(TOKENS_OF_MODEL) | st.just(TOKENS_OF_MODEL) | TOKENS | VALUES
        ),
    }
    if data.draw(st.integers(0, 9)) == 9:
        del record[data.draw(st.sampled_from(("config", "vocabulary")))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "read_record", lambda self: record)
        patch.setattr(sampling, "sample_text", lambda *_, **__: "text")
        outcome(sampling.sample_only, char_lm.Config(sample_only=True, checkpoint=str(saved)))


@SLOW
@given(
    name=TEXT
    | st.sampled_from(("~", "~no-such-user", "a" * 300, "a/" * 3000, "a\0", "~\0", "file"))
)
def test_a_checkpoint_that_is_none(name):
    with empty_directory() as directory:
        (directory / "file").write_text("")
        for path in (name, f"{directory}/{name}"):
            with contextlib.suppress(InputError):  # no --checkpoint at all
                config = char_lm.Config(sample_only=True, checkpoint=path)
                assert not outcome(sampling.sample_only, config)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 10**9},
        {"hidden_size": 2**16},
        {"layers": 10**9},
        {"layers": 64},
        {"cell": "gru"},
    ],
)
def test_a_record_that_claims_another_model_is_refused(saved, changes, monkeypatch):
    record = {"config": dataclasses.asdict(tiny()) | changes, "vocabulary": TOKENS_OF_MODEL}
    monkeypatch.setattr(Checkpoints, "read_record", lambda self: record)
    assert not outcome(
        sampling.sample_only, char_lm.Config(sample_only=True, checkpoint=str(saved))
    )


def test_a_record_that_is_right_is_sampled(saved, capsys):
    config = char_lm.Config(sample_only=True, checkpoint=str(saved), prime="ab", length=4)
    (text,) = outcome(sampling.sample_only, config)
    assert text.startswith("ab")


# ---------------------------------------------------------------- nothing that runs data

NEVER_IMPORTED = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
NEVER_CALLED = {"eval", "exec", "compile", "__import__"}
NEVER_TRUE = {"allow_pickle", "trust_remote_code", "shell"}


def test_data_is_never_run():
    found = {path: dangers(path.read_text(encoding="utf-8")) for path in MODULES}
    assert {path: what for path, what in found.items() if what} == {}


def dangers(source):
    """What in a source could run data as code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found += [n for n in names if n.split(".")[0] in NEVER_IMPORTED]
        elif isinstance(node, ast.Name) and node.id in NEVER_CALLED:
            found.append(node.id)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("yaml.load", "os.system"):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.keyword) and node.arg in NEVER_TRUE:
            found += [] if ast.unparse(node.value) == "False" else [node.arg]
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import dill.source",
        "eval('1')",
        "f = exec",
        "np.load(p, allow_pickle=True)",
        "load(p, trust_remote_code=x)",
        "yaml.load(f)",
        "subprocess.run(c, shell=True)",
    ],
)
def test_what_could_run_data_is_found(source):
    assert dangers(source)
