"""The captioner in small: it sees, the blind one does not; floors and readers of captions."""

import dataclasses
import io
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.caption.floors import floors
from experiments.caption.gallery import gallery
from experiments.caption.images import END, load_images
from experiments.caption.network import make_model, objective
from experiments.caption.program import Config, run
from experiments.caption.scores import scores_of, truth
from seqjax import InputError
from seqjax.data.sets.captions import load_captions, read_captions, read_features
from seqjax.tasks.scenes import Thing, blind_entropy
from tests.support import browser
from tests.support.tiers import long_only

SMALL = {
    "scenes": 200,
    "hidden_size": 16,
    "embedding_size": 16,
    "batch_size": 32,
    "epochs": 2,
    "beam": 1,
    "cell": "gru",
}


def write_captioned(folder):
    """Images whose only feature says what is on them."""
    captions, features = folder / "captions", folder / "features"
    captions.mkdir()
    features.mkdir()
    names = [f"image{i}.jpg" for i in range(60)]
    kinds = np.arange(60) % 3
    says = ("a dog runs", "two cats sleep", "the bird sings loudly")
    lines = [
        f"{n}#{k}\t{says[c].capitalize()} ."
        for n, c in zip(names, kinds, strict=True)
        for k in range(2)
    ]
    (captions / "Some.token.txt").write_text("\n".join(lines) + "\n")
    for split, part in (("train", names[:40]), ("dev", names[40:50]), ("test", names[50:])):
        (captions / f"Some.{split}Images.txt").write_text("\n".join(part))
    (features / "names.txt").write_text("\n".join(names))
    grid = np.repeat(np.eye(3, dtype=np.int8)[kinds][:, None], 4, 1)
    np.savez(features / "grid.npz", grid=grid, scale=np.ones(3, np.float32))
    picture = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(picture, "PNG")
    data = np.frombuffer(picture.getvalue() * len(names), np.uint8)
    offsets = np.arange(len(names) + 1) * len(picture.getvalue())
    np.savez(features / "jpeg16.npz", data=data, offsets=offsets)
    pooled = 200 * np.eye(3, dtype=np.uint8)[kinds]
    np.savez(features / "pooled.npz", features=pooled, scale=np.float32(0.005))
    return {
        "data": str(captions),
        "features": str(features),
        "scenes": Config.scenes,
        "min_count": 1,
    }


@pytest.mark.parametrize("entries", [long_only("step"), long_only("state,blind")])
def test_scenes_in_small(tmp_path, entries):
    config = Config(**SMALL, entries=entries, workdir=str(tmp_path / "run"))
    results = run(config)
    for row in results["networks"].values():
        assert row["nats"] < 20
        assert 0 <= row["sampled"]["true"] <= 1
    assert results["floors"]["blind_entropy"] == blind_entropy()
    assert (tmp_path / "run" / "captions.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "run" / "results.json").read_text())["results"] == results
    assert run(dataclasses.replace(config, resume=True)) == results


@pytest.mark.parametrize("entry", ["first", long_only("attention")])
@pytest.mark.whole
def test_captions_of_given_features(tmp_path, entry):
    """Three kinds of image, three sentences: all are learnt."""
    given = write_captioned(tmp_path)
    changes = {"entries": entry, "epochs": 25, "learning_rate": 0.02, "batch_size": 16}
    results = run(Config(**SMALL | given | changes, workdir=str(tmp_path / "run")))
    (row,) = results["networks"].values()
    assert row["beam"]["bleu1"] > 99
    text = (tmp_path / "run" / "gallery.html").read_text()
    assert "data:image/png" in text
    assert "two cats sleep" in text
    assert ('"maps":' in text) == (entry == "attention")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "</script><" not in text.split("const DATA")[1].split("\n")[0]
    assert results["floors"]["caption of the nearest image"]["bleu1"] > 99
    assert results["published"] == {}


def test_floors_of_scenes():
    images = load_images(Config(scenes=50))
    levels = floors(images)
    assert levels["perfect_nats"] == pytest.approx(levels["perfect_entropy"], abs=0.15)
    assert levels["perfect_nats"] < levels["blind_entropy"] - 2
    assert 0 < levels["blind_true"] < 0.2
    row = images.test.examples.labels[0]
    assert images.decode(row) == images.test.captions[0][0]
    assert np.sum(row == END) == 1


def test_truth_and_bleu():
    scene = (Thing("circle", "red", "large", 0, 0),)
    assert truth([scene] * 2, ["a red circle", "a blue circle"]) == 0.5
    scores = scores_of([["a dog runs in the snow", "a dog is in snow"]], ["a dog runs in the snow"])
    assert scores["bleu4"] == pytest.approx(100)
    assert scores_of([["a b c d e"]], ["a b c x y"])["bleu1"] == pytest.approx(60)
    assert scores_of([["a b c d e f"]], ["a b c"])["bleu1"] == pytest.approx(100 * math.exp(-1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entries": "last"}, "unknown name 'last' in --entries"),
        ({"data": "nowhere"}, "--data=PATH needs --features=PATH"),
        ({"features": "x"}, "--features is for a folder of captions"),
        ({"data": "nowhere", "features": "x", "scenes": 10_000}, "there is no folder"),
        ({"data": "nowhere", "features": "x"}, "--scenes has no use"),
        ({"captions": 0}, "--captions must be"),
    ],
)
def test_bad_input_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(Config(**SMALL | changes, workdir=str(tmp_path / "run")))


def test_files_that_do_not_fit(tmp_path):
    given = write_captioned(tmp_path)
    (tmp_path / "captions" / "Some.testImages.txt").write_text("strange.jpg")
    with pytest.raises(InputError, match=r"the test image 'strange\.jpg' has no features"):
        load_captions(given["data"], given["features"], kind="grid")
    (tmp_path / "features" / "names.txt").write_text("one.jpg")
    with pytest.raises(InputError, match=r"features of 60 images, and .* 1 names"):
        read_features(given["features"], "features")
    bad = tmp_path / "bad.token.txt"
    bad.write_text("image1.jpg a dog\n")
    with pytest.raises(InputError, match="line 1: write NAME#NUMBER, a tab and a caption"):
        read_captions(bad)
    (tmp_path / "features" / "pooled.npz").unlink()
    with pytest.raises(InputError, match=r"no \.npz file with an array 'features'"):
        read_features(given["features"], "features")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A gallery in a browser, of captions that strangers wrote."""
    images = load_images(Config(scenes=20))
    captions = [said[0] for said in images.test.captions]
    captions[0] = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    maps = np.random.default_rng(0).random((len(captions), 22, 16))
    text = gallery(
        images,
        captions,
        np.full(len(captions), -1.5),
        about="A test.",
        pictures={},
        names=[],
        maps=maps,
    )
    path = tmp_path_factory.mktemp("gallery") / "gallery.html"
    path.write_text(text, encoding="utf-8")
    with browser.opened(path) as page:
        yield page


def test_the_gallery_shows_text_and_runs_none(opened):
    assert opened.locator("article").count() == 60
    assert "onerror" in opened.inner_text("article >> nth=0")
    opened.click("text=not true")
    assert opened.locator("article").count() == 1
    opened.click("#choices >> text=all")
    opened.focus("article:nth-child(2) h2 button")
    assert opened.locator("article:nth-child(2) .map i").count() == 16


def test_the_gallery_fits_a_telephone_and_has_alt_texts(opened):
    assert browser.fits_a_telephone(opened)
    assert opened.evaluate("[...document.images].every(i => i.naturalWidth)")
    assert browser.has_two_themes(opened)


def test_a_captioner_reads_its_own_words_as_often_as_is_said():
    """Never, and the loss is that of teacher forcing bit for bit; always, and another word is read."""
    images = load_images(Config(scenes=20))
    model = make_model(Config(**SMALL), "step", images, seed=0)
    batch = jax.tree.map(lambda a: jnp.asarray(a[:4]), images.train.examples)

    def loss(share):
        key = jax.random.key(3)
        return objective(1.0, share, model, batch.inputs, batch.lengths, batch.labels, key)[0]

    np.testing.assert_array_equal(loss(1.0), loss(1 - 1e-9))  # the coin never falls there
    assert np.all(loss(0.0) != loss(1.0))
    with pytest.raises(InputError, match="--teacher_forcing must lie in"):
        Config(teacher_forcing=1.5)
