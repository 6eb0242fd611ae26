"""A trained model out of its run: in a page, in ONNX Runtime, as StableHLO, in a folder; the same text everywhere."""

import json

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.char_lm import Config as CharConfig
from experiments.char_lm import run as train
from experiments.common import page as common
from experiments.export import Config, latency, program, run
from seqjax import InputError, lstm
from seqjax.interop.pretrained import from_pretrained, save_pretrained
from seqjax.models import LanguageModel
from seqjax.training.language_modelling import make_sample
from seqjax.training.modules import merge_model, split_model
from seqjax.training.saved_models import load_language_model
from tests.support import browser
from tests.support.randomness import randomise
from tests.support.tiers import long_only

PRIME = "the "


@pytest.fixture(scope="module", params=["lstm", *map(long_only, ("gru", "rnn", "mgu"))])
def trained(request, tmp_path_factory):
    """A small model that has learnt a little."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "text.txt").write_text("the cat sat on the mat. the dog ate the cat's hat. " * 60)
    config = CharConfig(
        cell=request.param, hidden_size=12, layers=2, seq_len=10, batch_size=8, steps=60, eval_every=60,
        data=str(folder / "text.txt"), workdir=str(folder / "run"), ngram_order=1, length=5,
    )  # fmt: skip
    train(config)
    return folder / "run"


def greedy(saved, length=60):
    """What char_lm writes at temperature 0."""
    split = split_model(saved.model)
    sample = make_sample(split.graphdef, length=length, temperature=0.0)
    prime = saved.vocabulary.encode(PRIME).ids[None]
    return np.asarray(sample(split.params, jax.numpy.asarray(prime), jax.random.key(0)))[0].tolist()


@pytest.mark.whole
def test_the_page_writes_the_same_text(trained):
    saved = load_language_model(trained)
    ids = saved.vocabulary.encode(PRIME).ids.tolist()
    model = f"writing.makeModel({json.dumps(program.page_data(saved))})"
    code = (
        f"(model => [writing.write(model, {ids}, 60), Array.from(writing.read(model, {ids})[1]),"
        f" model.encode({json.dumps(PRIME)}).ids])({model})"
    )
    scripts = [common.HERE / "cells.js", program.HERE / "writing.js"]
    written, logits, encoded = browser.evaluated(scripts, code)
    assert written == greedy(saved)
    assert encoded == ids
    _, expected = saved.model(np.array([ids]))
    np.testing.assert_allclose(logits, expected[0, -1], rtol=1e-4, atol=1e-5)


def test_a_folder_is_the_same_model(trained, tmp_path):
    run(Config(checkpoint=str(trained), format="safetensors", workdir=str(tmp_path / "out")))
    saved, found = load_language_model(trained), from_pretrained(tmp_path / "out")
    ours, theirs = (split_model(m).params for m in (saved.model, found.model))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)
    assert found.vocabulary.tokens == saved.vocabulary.tokens
    tokens = np.array([[1, 2, 3]])
    np.testing.assert_array_equal(saved.model(tokens)[1], found.model(tokens)[1])
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: seqjax")


def test_a_folder_of_a_stranger_is_refused_in_a_sentence(trained, tmp_path):
    saved = load_language_model(trained)
    save_pretrained(tmp_path, saved.model, saved.vocabulary, saved.cell)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"cell": "os.system"}, "cell in .* must be one of"),
        ({"layers": 10**9}, "layers in .* must be at most 64"),
        ({"hidden_size": 13}, "must be float32 of shape"),
        ({"vocabulary": "abc"}, "a vocabulary is a list of strings"),
        ({"layers": 1}, "which nothing asks for"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(InputError, match=message):
            from_pretrained(tmp_path)


@pytest.mark.parametrize("form", ["html", "onnx", "stablehlo"])
def test_every_format_is_written_with_what_it_needs(trained, tmp_path, form):
    if form == "onnx" and load_language_model(trained).cell == "mgu":
        with pytest.raises(InputError, match="ONNX has no mgu"):
            run(Config(checkpoint=str(trained), format=form, workdir=str(tmp_path / "out")))
        return
    run(Config(checkpoint=str(trained), format=form, workdir=str(tmp_path / "out")))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    if form == "html":
        page = (tmp_path / "out" / "writing.html").read_text()
        assert "{{" not in page
        assert "default-src 'none'" in page  # nothing is fetched
    else:
        assert {f"model.{form}", "vocabulary.json", "README.md"} <= names


def test_one_can_type_into_the_page(trained, tmp_path):
    """In Chromium: the greedy text is char_lm's, no error, no request, 400 pixels wide."""
    run(Config(checkpoint=str(trained), format="html", workdir=str(tmp_path / "out")))
    saved = load_language_model(trained)
    with browser.opened(tmp_path / "out" / "writing.html") as page:
        page.fill("#length", "60")
        page.fill("#text", PRIME)
        page.wait_for_function("document.getElementById('written').textContent.length == 60")
        assert page.inner_text("#written") == saved.vocabulary.decode(np.array(greedy(saved)))
        page.fill("#text", "the Ω")
        assert "Ω" in page.inner_text("#unknown")
        assert page.locator("#next li").count() == 8
        assert browser.fits_a_telephone(page)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="--checkpoint=RUN must name"):
        Config()
    with pytest.raises(InputError):
        run(Config(checkpoint=str(tmp_path), workdir=str(tmp_path / "out")))


@pytest.mark.long
def test_every_way_that_is_timed_chooses_the_same_tokens(monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    monkeypatch.setattr(latency, "TURNS", 1)
    monkeypatch.setattr(latency, "CALLS", 10)
    model = LanguageModel(latency.VOCAB, [lstm(8)], embedding_size=8, rngs=nnx.Rngs(0))
    split = split_model(model)
    model = merge_model(split, randomise(split.params, 1))
    times = latency.microseconds({name: make(model) for name, make in latency.WAYS.items()})
    assert all(len(calls) == 10 and min(calls) > 0 for calls in times.values())
