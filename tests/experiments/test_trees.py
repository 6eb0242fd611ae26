"""The tree program in small: both studies end to end, a stop and its resumption, and its numbers."""

import json
import re
import signal

import numpy as np
import pytest

from experiments.trees import formulas, program, sentiment
from experiments.trees.batches import shuffled_groups, stack_batches
from experiments.trees.network import Training, build, make_lesson, make_optimizer, make_predict
from experiments.trees.reader import as_strings
from experiments.trees.speed import ways
from seqjax import InputError
from seqjax.data.sets.treebank import parse_tree
from seqjax.runs.session import Session
from seqjax.runs.stopping import Stopped
from seqjax.tasks.formulas import BOOLEAN, LISTOPS, as_string, draw_formula
from seqjax.training.fit import fit
from seqjax.tree_cells import TREE_CELLS
from tests.support.randomness import randomise
from tests.support.tiers import long_only
from tests.support.trees import random_tree

WORDS = {"awful": 0, "poor": 1, "plain": 2, "the": 2, "film": 2, "fine": 3, "great": 4}


def make_formulas_config(directory, **changes):
    small = {"tasks": "boolean", "depth": 2, "test_depth": 4, "formulas": 400, "epochs": 3}
    sizes = {"hidden_size": 16, "batch_size": 20, "learning_rate": 0.02, "workdir": str(directory)}
    return program.Config(**small | sizes | changes)


def bracketed(rng, leaves):
    """A tree whose label is that of its most extreme leaf, the first of two."""
    children, words = random_tree(rng, leaves), list(WORDS)
    labels, parts = [], []
    for below in children.tolist():
        if below[0] < 0:
            word = words[rng.integers(len(words))]
            labels.append(WORDS[word])
            parts.append(f"({labels[-1]} {word})")
        else:
            labels.append(max((labels[c] for c in below), key=lambda v: abs(v - 2)))
            parts.append(f"({labels[-1]} {' '.join(parts[c] for c in below)})")
    return parts[-1]


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bank")
    rng = np.random.default_rng(0)
    for split, count in (("train", 200), ("dev", 30), ("test", 60)):
        lines = [bracketed(rng, int(rng.integers(1, 7))) for _ in range(count)]
        (directory / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return directory


def make_bank_config(directory, bank, **changes):
    small = {"data": str(bank), "hidden_size": 12, "embedding_size": 8, "epochs": 4, "wave": 8}
    return program.Config(**small | {"workdir": str(directory)} | changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, bank):
    workdir = tmp_path_factory.mktemp("trees") / "run"
    return workdir, program.run(make_bank_config(workdir, bank))


@pytest.mark.long
def test_formulas_end_to_end(tmp_path):
    workdir = tmp_path / "run"
    results = program.run(make_formulas_config(workdir))
    rows = results["networks"]
    assert list(rows) == ["boolean, tree network, seed 0", "boolean, lstm, seed 0"]
    tree = rows["boolean, tree network, seed 0"]["accuracies"]
    assert len(tree) == 4
    assert tree[0] > 0.95
    assert tree[1] > 0.8
    assert (workdir / "depth.png").read_bytes().startswith(b"\x89PNG")
    table = (workdir / "table.txt").read_text()
    assert re.search(r"boolean +tree network +[01]\.\d{3} ", table)
    assert json.loads((workdir / "results.json").read_text())["results"] == results


@pytest.mark.whole
def test_a_treebank_end_to_end(trained):
    workdir, results = trained
    (row,) = results["networks"].values()
    assert row["test"]["root"] > 0.8
    assert row["test"]["all_nodes"] > 0.9
    assert np.sum(row["confusion"]) == 60
    assert np.trace(row["confusion"]) == round(60 * row["test"]["root"])
    assert len(row["right"]) == 5
    assert all(e["given"] == e["label"] for e in row["right"])
    assert all(e["given"] != e["label"] for e in row["wrong"])
    assert (workdir / "confusion.png").read_bytes().startswith(b"\x89PNG")
    table = (workdir / "table.txt").read_text()
    for name in ("RNTN", "naive Bayes, words and pairs, ours", "tree_lstm, 1 seed"):
        assert name in table


def test_a_saved_network_labels_a_tree(trained, capsys):
    def labels(text):
        config = program.Config(predict=text, checkpoint=str(trained[0]))
        program.main(config)
        return capsys.readouterr().out.splitlines()

    shown, verdict = labels("(0 (0 great) (0 film))")
    assert parse_tree(shown).labels.tolist() == [4, 2, 4]
    assert verdict.startswith("very positive, with probability 0.")
    assert labels("(0 (0 awful) (0 film))")[1].startswith("very negative")
    with pytest.raises(InputError, match="--predict: 1 brackets are not closed"):
        labels("(0 (0 great) (0 film)")
    with pytest.raises(InputError, match="a node has 3 children, and this cell joins 2"):
        labels("(0 (0 great) (0 film) (0 film))")


def test_a_network_of_formulas_labels_no_trees(tmp_path):
    with pytest.raises(InputError, match="holds no trained network"):
        program.main(program.Config(predict="(1 a)", checkpoint=str(tmp_path)))


@pytest.mark.long
def test_a_stopped_run_resumes_to_the_same_numbers(trained, bank, tmp_path, monkeypatch):
    original, seen = Session.log, []

    def log_and_stop(self, step, split, **values):
        original(self, step, split, **values)
        seen.append(step)
        if len(seen) == 7:  # within the second epoch
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "log", log_and_stop)
        with pytest.raises(Stopped):
            program.run(make_bank_config(tmp_path / "run", bank))
    resumed = program.run(make_bank_config(tmp_path / "run", bank, resume=True))
    assert resumed == trained[1]


@pytest.mark.parametrize("cell", [long_only("child_sum"), "rnn", long_only("rntn")])
@pytest.mark.whole
def test_every_cell_and_two_classes(cell, bank, tmp_path):
    sizes = {"hidden_size": 0} if cell != "child_sum" else {}
    config = make_bank_config(tmp_path / "run", bank, cell=cell, classes=2, epochs=1, **sizes)
    results = program.run(config)
    (row,) = results["networks"].values()
    assert set(row["test"]) == {"root", "all_nodes"}
    assert np.shape(row["confusion"]) == (2, 2)


def test_vectors_are_read_and_may_stay(bank, tmp_path):
    lines = [f"{word} {i} {i + 0.5} -1" for i, word in enumerate(WORDS)]
    (tmp_path / "v.txt").write_text("\n".join(lines[:4]) + "\n")
    config = make_bank_config(
        tmp_path / "run", bank, vectors=str(tmp_path / "v.txt"), embedding_size=0, vector_rate=0.0
    )
    corpus = sentiment.load_corpus(config)
    place = corpus.names.index("awful")
    np.testing.assert_array_equal(corpus.vectors[place], [0, 0.5, -1])
    lesson = sentiment.network(config, corpus, 0).lesson
    before = np.asarray(lesson.state.params["embedding"]["embedding"])
    (chunk,) = fit(lesson.steps, lesson.state, lesson.data_of(0), num_steps=2, ends=(2,))
    np.testing.assert_array_equal(chunk.state.params["embedding"]["embedding"], before)
    assert np.any(chunk.state.params["head"]["bias"] != 0)


def test_scores_by_hand():
    trees = [parse_tree("(4 (2 a) (0 b))"), parse_tree("(2 c)"), parse_tree("(1 d)")]

    def row(label, other, p):
        values = np.zeros(5)
        values[label], values[other] = p, 1 - p
        return values

    probabilities = [
        np.array([row(2, 0, 0.9), row(0, 1, 0.8), row(3, 0, 0.7)]),  # root: 3 for 4, the sign right
        np.array([row(2, 1, 0.6)]),
        np.array([[0.0, 0.3, 0.4, 0.15, 0.15]]),  # 2 for 1; both signs have 0.3
    ]
    scores = sentiment.scores_of(trees, probabilities)
    assert scores == {
        "root": 1 / 3,
        "all_nodes": 3 / 5,
        "root_sign": 1.0,  # of a tie, negative
        "all_nodes_sign": 1.0,
    }
    binary = [parse_tree("(1 (0 a) (1 b))")._replace(labels=np.array([0, -1, 1]))]
    values = [np.array([[0.4, 0.6], [0.9, 0.1], [0.2, 0.8]])]
    assert sentiment.scores_of(binary, values) == {"root": 1.0, "all_nodes": 0.5}


@pytest.mark.long
def test_batches_hold_every_tree_once_and_predictions_stand_in_order():
    rng = np.random.default_rng(1)
    trees = [draw_formula(rng, LISTOPS, int(d)) for d in rng.integers(0, 5, size=23)]
    model = build(TREE_CELLS["tree_lstm"](6), len(LISTOPS.tokens), 10, 5, 0)
    params = randomise(make_lesson_of(model, trees).state.params, 2)
    together = make_predict(model, trees, width=4)(params)
    for tree, values in zip(trees, together, strict=True):
        (alone,) = make_predict(model, [tree], width=3)(params)
        np.testing.assert_allclose(values, alone, rtol=1e-4, atol=1e-6)
    groups = shuffled_groups(23, 5, seed=1, epoch=2)
    assert sorted(np.concatenate(groups).tolist()) == list(range(23))
    batches, _ = stack_batches(trees, groups, arity=2, width=4)
    assert batches.num_trees.tolist() == [5, 5, 5, 5, 3]
    assert np.sum(batches.labels >= 0) == sum(np.sum(tree.labels >= 0) for tree in trees)
    assert np.sum(batches.tokens >= 0) == sum(np.sum(tree.tokens >= 0) for tree in trees)


def make_lesson_of(model, trees, **changes):
    training = Training(len(trees), batch_size=5, epochs=1, width=4)._replace(**changes)
    optimizer = make_optimizer("adagrad", 0.05, 0.1)
    return make_lesson(model, optimizer, lambda _: trees, training, lambda _: {})


def test_the_first_update_of_adagrad_is_the_sign_of_the_gradient():
    """... times the rate, for its sums begin at zero; vectors have their own rate."""
    rng = np.random.default_rng(3)
    trees = [draw_formula(rng, BOOLEAN, 2) for _ in range(5)]
    model = build(TREE_CELLS["tree_lstm"](6), len(BOOLEAN.tokens), 2, 5, 0)
    lesson = make_lesson_of(model, trees)
    (chunk,) = fit(lesson.steps, lesson.state, lesson.data_of(0), num_steps=1, ends=(1,))
    for name, rate in (("head", 0.05), ("embedding", 0.1)):
        leaf = next(iter(lesson.state.params[name]))
        steps = np.abs(chunk.state.params[name][leaf] - lesson.state.params[name][leaf])
        np.testing.assert_allclose(steps[steps > 0], rate, rtol=0.05)
        assert np.any(steps > 0)


def test_strings_end_in_the_value_of_the_formula():
    rng = np.random.default_rng(4)
    trees = [draw_formula(rng, LISTOPS, d) for d in (0, 3, 5)]
    strings = as_strings([as_string(tree, LISTOPS) for tree in trees])
    for i, tree in enumerate(trees):
        assert strings.labels[i, strings.ends[i]] == tree.labels[-1]
        assert np.all(strings.labels[i, strings.ends[i] + 1 :] == -1)


def test_epochs_of_formulas_are_new_and_held_out_ones_are_none_of_them():
    config = make_formulas_config("", formulas=300, depth=2)

    def texts(trees):
        return [tuple(t.tokens.tolist()) for t in trees]

    first, second = (texts(formulas.draw(config, BOOLEAN, 0, epoch)) for epoch in (0, 1))
    assert first != second
    assert first == texts(formulas.draw(config, BOOLEAN, 0, 0))
    assert texts(formulas.held_out_of(config, "boolean", 0))[:300] not in (first, second)


def test_scores_of_formulas_by_hand():
    trees = [draw_formula(np.random.default_rng(i), BOOLEAN, 0) for i in range(2)]
    at_root = [np.eye(2)[t.labels[-1]] * 0.6 + 0.2 for t in trees]  # .8 for the right value
    scores = formulas.scores_of(trees, at_root)
    assert scores == {"log_likelihood": pytest.approx(np.log(0.8)), "accuracy": 1.0}
    wrong = formulas.scores_of(trees, [at_root[0], at_root[1][::-1]])
    assert wrong["accuracy"] == 0.5
    assert list(wrong) == ["log_likelihood", "accuracy"]  # the first chooses the best state
    many = [trees[0]] * formulas.PER_DEPTH * 2
    halves = [at_root[0]] * formulas.PER_DEPTH + [at_root[0][::-1]] * formulas.PER_DEPTH
    assert formulas.by_depth(many, halves) == {"accuracies": [1.0, 0.0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": "sums"}, "unknown name 'sums' in --tasks"),
        ({"depth": 6}, "--test_depth must lie between twice --depth and 30, got 10"),
        ({"classes": 3}, "--classes must be 5 or 2, got 3"),
        ({"classes": 2}, "--classes has no use without --data"),
        ({"vectors": "x"}, "--vectors has no use without --data"),
        ({"data": "x", "depth": 3}, "--depth has no use with --data"),
        ({"data": "x", "vectors": "y", "embedding_size": 3}, "--vectors or --embedding_size"),
        ({"predict": "(1 a)"}, "--predict=TREE and --checkpoint=PATH go together"),
        ({"dropout": 1.0, "data": "x"}, "--dropout must lie in"),
        ({"wave": 0}, "--wave must be an integer of at least 1"),
        ({"data": "nowhere"}, "there is no directory nowhere"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        program.run(program.Config(**{"workdir": str(tmp_path / "run")} | changes))
    assert not list(tmp_path.iterdir())


def test_other_labels_than_five_are_refused(tmp_path, bank):
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.txt").write_text("(1 a)\n(0 b)\n")
    with pytest.raises(InputError, match=r"must have the labels 0 to 4, got \[0, 1\]"):
        program.run(make_bank_config("", tmp_path))


@pytest.mark.long
def test_the_three_ways_that_are_timed_give_one_gradient():
    pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    trees = [random_tree(rng, n) for n in (5, 9)]
    vectors = [rng.normal(size=(n, 50)).astype(np.float32) for n in (5, 9)]
    leaves_first = [t for t in trees if np.all(t[: (len(t) + 1) // 2] < 0)]
    assert len(leaves_first) == 2
    first, *others = (way(trees, vectors) for way in ways().values())
    for other in others:
        for part, value in first.items():
            np.testing.assert_allclose(value, other[part], rtol=1e-3, atol=1e-4)
