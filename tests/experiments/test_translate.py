"""The translator in small: it learns, stops, resumes, translates, and refuses what is wrong."""

import io
import json
import re
import signal
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common.saved_networks import SavedNetwork
from experiments.translate.network import Kind, lengths_of, make_model, objective
from experiments.translate.program import Config, main, run
from experiments.translate.scores import by_length, scores_of, signature
from seqjax import InputError
from seqjax.data.orders import order_of_pairs
from seqjax.runs.session import Session
from seqjax.runs.stopping import Stopped
from seqjax.training.modules import merge_model, split_model

SMALL = {
    "data": "copy",
    "examples": 300,
    "longest": 3,
    "hidden_size": 12,
    "embedding_size": 8,
    "batch_size": 16,
    "epochs": 3,
    "attention": "dot",
    "bidirectional": False,
    "max_length": 12,
}


def make_config(directory, **changes):
    return Config(**SMALL | {"workdir": str(directory)} | changes)


def parallel(folder, count=400):
    """German numbers and their digits."""
    folder.mkdir()
    words = "null eins zwei drei vier".split()
    random = np.random.default_rng(0)
    rows = [random.integers(5, size=random.integers(3, 7)) for _ in range(count)]
    for name, part in (("train", rows[:-30]), ("test_a", rows[-30:])):
        (folder / f"{name}.de").write_text("\n".join(" ".join(words[i] for i in r) for r in part))
        (folder / f"{name}.en").write_text("\n".join(" ".join(str(i) for i in r) for r in part))
    return str(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translate")
    data = parallel(folder / "data")
    changes = {"data": data, "unit": "word", "min_count": 1, "beam": 2, "examples": 10_000}
    config = make_config(
        folder / "run", longest=20, batch_size=8, epochs=8, learning_rate=0.02, **changes
    )
    return config, run(config)


@pytest.mark.long
def test_it_learns_and_writes_what_was_found(trained):
    config, results = trained
    (row,) = results["networks"].values()
    assert row["greedy"]["bleu"] > 20
    assert len(row["examples"]) == 5
    assert "nrefs:1|case:lc" in results["signature"] == signature()
    assert results["published"] == {}
    directory = Path(config.workdir)
    assert json.loads((directory / "results.json").read_text())["results"] == results
    assert (directory / "length.png").read_bytes().startswith(b"\x89PNG")
    assert "de to en, dot attention" in (directory / "table.txt").read_text()


@pytest.mark.whole
def test_a_saved_network_translates(trained, capsys, monkeypatch):
    run_at = trained[0].workdir
    main(Config(checkpoint=run_at, translate="eins zwei", beam=3))
    lines = capsys.readouterr().out.splitlines()
    log_probs = [float(line.split()[0]) for line in lines]
    assert 1 <= len(lines) <= 3
    assert all(p <= 0 for p in log_probs)
    monkeypatch.setattr(sys, "stdin", io.StringIO("eins zwei\n\nкот\neins\n"))
    main(Config(checkpoint=run_at, stdin=True, beam=3))
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == lines[0][10:]
    assert len(out.splitlines()) == 3
    assert "training never showed anything of this text: 'кот'" in err
    with pytest.raises(InputError, match="the text has 13 tokens; the network reads at most 12"):
        main(Config(checkpoint=run_at, translate="eins " * 13))


@pytest.mark.long
def test_the_curve_of_a_saved_network(trained, tmp_path):
    config = trained[0]
    main(Config(checkpoint=config.workdir, curve="1,3", workdir=str(tmp_path / "curve")))
    rows = json.loads((tmp_path / "curve" / "curve.json").read_text())
    assert [(r["penalty"], r["width"]) for r in rows][:3] == [
        ("none", 1),
        ("none", 3),
        ("average", 1),
    ]
    one = {r["bleu"] for r in rows if r["width"] == 1 and r["penalty"] == "none"}
    (row,) = trained[1]["networks"].values()
    assert one == {row["greedy"]["bleu"]}
    assert (tmp_path / "curve" / "curve.png").exists()
    assert {p.name for p in (tmp_path / "curve").iterdir()} == {
        *("curve.json", "curve.png", "curve.txt")
    }


@pytest.mark.long
def test_a_stopped_run_resumes_to_the_same_numbers(tmp_path, monkeypatch):
    whole = run(make_config(tmp_path / "whole", teacher_forcing=0.8, epochs=2))
    original, seen = Session.log, []

    def log_and_stop(self, step, split, **values):
        original(self, step, split, **values)
        seen.append(step)
        if len(seen) == 6:  # within the second epoch
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "log", log_and_stop)
        with pytest.raises(Stopped, match=re.escape("copy, dot attention, seed 0 is saved")):
            run(make_config(tmp_path / "run", teacher_forcing=0.8, epochs=2))
    assert run(make_config(tmp_path / "run", teacher_forcing=0.8, epochs=2, resume=True)) == whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "sum"}, "unknown name 'sum' in --attention"),
        ({"data": "nowhere"}, "--examples has no use with --data=nowhere"),
        ({"data": "nowhere", "examples": 10_000, "longest": 20}, "nowhere is no folder"),
        ({"test": "x"}, "--test has no use with --data=copy"),
        ({"teacher_forcing": 1.5}, r"--teacher_forcing must lie in \[0, 1\]"),
        ({"translate": "x"}, "give --checkpoint=RUN with one of"),
        ({"checkpoint": "x", "stdin": True, "translate": "x"}, "give --checkpoint=RUN with one of"),
        ({"checkpoint": "x", "curve": "0"}, "--curve takes widths such as"),
        ({"longest": 15, "too_long": "refuse"}, "training pairs are longer than --max_length=12"),
        ({"bidirectional": True}, "--attention=dot compares vectors of one size"),
        ({"bridge": "copy", "bidirectional": True, "attention": "none"}, "bridge='copy' needs"),
    ],
)
def test_bad_input_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(make_config(tmp_path / "run", **changes))


def test_what_was_saved_by_another_program_is_refused(trained, monkeypatch):
    original = SavedNetwork.strings

    def broken(self, name):
        return ["{}"] if name == "tokenizers" else original(self, name)

    monkeypatch.setattr(SavedNetwork, "strings", broken)
    with pytest.raises(InputError, match="this is no tokenizer"):
        main(Config(checkpoint=trained[0].workdir, translate="eins"))


def test_scores_and_groups_of_lengths():
    assert scores_of(["ab", "c"], ["ab", "d"], exact=True) == {"exact": 0.5}
    bleu = scores_of(["a cat sat on a mat"], ["A cat sat on a mat"], exact=False)["bleu"]
    assert bleu == pytest.approx(100)  # case does not count
    lengths = np.array([1, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    groups = by_length(lengths, ["a"] * 10, ["a"] * 5 + ["b"] * 5, exact=True)
    assert sum(group["count"] for group in groups) == 10
    assert groups[0]["exact"] == 1
    assert groups[-1]["exact"] == 0


@pytest.mark.whole
def test_every_order_of_an_epoch_has_the_same_gradient():
    """The sum over all batches, each cut to its own longest pair: no padding, and no pair, counts twice."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 12, (2, 30))
    source, target = (
        np.where(np.arange(12) < n[:, None], rng.integers(4, 9, (30, 12)), 0) for n in lengths
    )
    config = Config(hidden_size=6, embedding_size=5)
    model = make_model(config, Kind("additive"), (9, 9), seed=0)
    split = split_model(model)

    @jax.jit
    def gradient(source, tokens, labels):
        def loss(params):
            inputs, n = {"source": source, "target": tokens}, lengths_of(tokens)
            key = jax.random.key(0)
            return objective(config, 1.0, merge_model(split, params), inputs, n, labels, key)[
                0
            ].sum()

        return jax.grad(loss)(split.params)

    def of_an_epoch(order, epoch):
        total = jax.tree.map(np.zeros_like, split.params)
        for batch in order_of_pairs(*lengths, 8, order=order, seed=1, epoch=epoch):
            rows = batch[batch >= 0]
            top = max(lengths[0, rows].max(), lengths[1, rows].max())
            tokens = np.concatenate([np.full((len(rows), 1), 1), target[rows, : top - 1]], 1)
            found = gradient(source[rows, :top], tokens, target[rows, :top])
            total = jax.tree.map(np.add, total, found)
        return total

    wanted = of_an_epoch("shuffle", 0)
    for order in ("pools", "source", "target_source"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4),
            of_an_epoch(order, 1),
            wanted,
        )
