"""Questions about images in small: scenes, and a wheel made here."""

import io
import json
import zipfile

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from experiments.common import page as common
from experiments.vqa import gallery
from experiments.vqa.gallery import network_data
from experiments.vqa.network import accuracies, make_model, make_trainee
from experiments.vqa.program import GUESSES, Config, run
from experiments.vqa.questions import UNSEEN, load_questions
from seqjax import InputError, gru
from seqjax.data.sets.easy_vqa import load_easy_vqa
from seqjax.models import QuestionAnswerer
from seqjax.models.question_answerer import FUSIONS
from seqjax.tasks.scenes import draw_questions
from seqjax.training.modules import merge_model, split_model
from tests.support import browser
from tests.support.randomness import randomise
from tests.support.tiers import long_only

SMALL = {"hidden_size": 16, "embedding_size": 8, "batch_size": 16, "epochs": 1}


def write_wheel(folder, side=64):
    """Twelve pictures, red or blue, and what colour they are."""
    path = folder / "easy_vqa-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for split, count in (("train", 20), ("test", 6)):
            rows = []
            for number in range(count):
                colour = ("red", "blue")[number % 2]
                picture = io.BytesIO()
                Image.new("RGB", (side, side), colour).save(picture, "PNG")
                archive.writestr(f"easy_vqa/data/{split}/images/{number}.png", picture.getvalue())
                rows.append(["What colour is it?", colour, number])
            archive.writestr(f"easy_vqa/data/{split}/questions.json", json.dumps(rows))
    return str(folder)


@pytest.mark.long
def test_scenes_in_small(tmp_path):
    config = Config(**SMALL, questions=200, fusions="step", workdir=str(tmp_path / "run"))
    results = run(config)
    (row,) = results["networks"].values()
    assert set(row["test"]) == {"all", "exists", "count", "colour", "relation"}
    assert set(row["unseen"]) == {"all", "exists", "relation"}
    assert (tmp_path / "run" / "answers.png").read_bytes().startswith(b"\x89PNG")
    assert "ceiling of who sees nothing" in (tmp_path / "run" / "table.txt").read_text()


@pytest.mark.parametrize(
    ("cell", "fusion"),
    [
        ("gru", "product"),
        pytest.param("lstm", "step", marks=pytest.mark.long),
        pytest.param("rnn", "concat", marks=pytest.mark.long),
        pytest.param("mgu", "product", marks=pytest.mark.long),
    ],
)
@pytest.mark.whole
def test_the_page_answers_as_the_network_does(cell, fusion):
    config = Config(**SMALL | {"layers": 2}, cell=cell, questions=40)
    questions = load_questions(config)
    trainee = make_trainee(config, questions, fusion, 0)
    params = randomise(trainee.lesson.state.params, 2)
    model = merge_model(split_model(make_model(config, fusion, questions, 0)), params)
    expected = trainee.shares(params, questions.test)[:6]
    data = network_data(config, questions, model, questions.test.examples.inputs["image"][:6])
    asked = [[words, place] for place, words in enumerate(questions.test.words[:6])]
    asked.append(["Is there a Purple circle?", 0])
    found = answers_of_page(data, asked)
    np.testing.assert_allclose([row["shares"] for row in found[:-1]], expected, atol=2e-5)
    assert [row["unknown"] for row in found] == [[]] * 6 + [["purple"]]


def answers_of_page(data, asked):
    scripts = [common.HERE / "cells.js", gallery.HERE / "gallery.js"]
    ask = f"makeAnswerer({json.dumps(data)})"
    code = f"{json.dumps(asked)}.map(([text, place]) => {ask}(text, place))"
    return browser.evaluated(scripts, code)


@pytest.mark.whole
def test_one_can_ask_in_the_gallery(tmp_path):
    """In Chromium: keyboard, text that is shown and not run, both themes, 400 pixels."""
    config = Config(**SMALL, questions=40)
    questions = load_questions(config)
    questions.test.words[1] = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    trainee = make_trainee(config, questions, "product", 0)
    model = make_model(config, "product", questions, 0)
    shares = trainee.shares(trainee.lesson.state.params, questions.test)
    path = tmp_path / "gallery.html"
    text = gallery.gallery(config, questions, model, shares, about="A test.")
    path.write_text(text, encoding="utf-8")
    with browser.opened(path) as page:
        assert page.locator("#cards button").count() == gallery.CARDS
        assert page.input_value("#question") == questions.test.words[0]
        first = page.inner_text("#answers li:first-child .share")
        assert first == f"{100 * shares[0].max():.1f} %"
        page.focus("#cards button:nth-child(3)")
        page.keyboard.press("Enter")
        assert page.input_value("#question") == questions.test.words[2]
        page.fill("#question", "is there a Purple circle?")
        assert page.inner_text("#unknown") == "Never seen in training: purple"
        page.keyboard.press("Enter")
        page.fill("#question", "")
        assert page.inner_text("#unknown") == "Write a question."
        page.click("#choices >> text=wrong")
        wrong = shares.argmax(1) != questions.test.examples.labels
        assert page.locator("#cards button").count() == wrong[: gallery.CARDS].sum()
        page.click("#choices >> text=all")
        assert browser.fits_a_telephone(page)
        assert browser.has_two_themes(page)


def test_a_wheel_is_read(tmp_path):
    questions = load_questions(Config(data=write_wheel(tmp_path)))
    assert questions.answers == ["blue", "red"]
    assert [len(split.words) for split in questions[3:6]] == [18, 2, 6]
    assert questions.unseen is None
    assert questions.by_words() == 0.5  # the words tell nothing here
    first = questions.test.examples
    assert questions.answers[first.labels[0]] == "red"
    assert first.inputs["image"][0, 5, 5].tolist() == [255, 0, 0]


def test_wheels_that_are_none(tmp_path):
    with pytest.raises(InputError, match="has no wheel easy_vqa"):
        load_easy_vqa(tmp_path)
    bad = tmp_path / "easy_vqa-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip")
    with pytest.raises(InputError, match="is no wheel of easy-VQA"):
        load_easy_vqa(tmp_path)
    write_wheel(tmp_path, side=32)
    with pytest.raises(InputError, match="not 64 x 64"):
        load_easy_vqa(tmp_path)


def test_the_ceiling_of_who_sees_nothing():
    """... is what the best guess from the words alone reaches on many questions."""
    exact = {"exists": 1 / 2, "count": 1 / 4, "colour": (1 / 3 + 1 / 3 + 1 / 4) / 3}
    assert pytest.approx(exact | {"relation": 1 / 2}) == GUESSES
    answers = {}
    for question in draw_questions(np.random.default_rng(0), 6000, without=UNSEEN):
        if question.kind == "colour":
            answers.setdefault(question.words, []).append(question.answer)
    best = sum(max(map(found.count, set(found))) for found in answers.values())
    assert best / sum(map(len, answers.values())) == pytest.approx(GUESSES["colour"], abs=0.04)


def test_questions_without_pairs_that_are_held_out():
    questions = load_questions(Config(questions=40))
    named = {" ".join(pair) for pair in UNSEEN}
    assert all(any(name in words for name in named) for words in questions.unseen.words)
    assert not any(name in words for name in named for words in questions.train.words)
    right = np.eye(len(questions.answers))[questions.unseen.examples.labels]
    assert accuracies(right, questions.unseen) == {"all": 1, "exists": 1, "relation": 1}
    assert accuracies(1 - right, questions.unseen) == {"all": 0, "exists": 0, "relation": 0}


@pytest.mark.parametrize("fusion", ["product", *map(long_only, sorted({*FUSIONS} - {"product"}))])
def test_question_and_image_both_count_and_padding_does_not(fusion):
    model = QuestionAnswerer(
        9,
        5,
        [gru(4)],
        features=(2, 3),
        embedding_size=4,
        hidden_size=6,
        fusion=fusion,
        rngs=nnx.Rngs(0),
    )
    split = split_model(model)
    model = merge_model(split, randomise(split.params, 1))
    images = jax.random.normal(jax.random.key(0), (2, 2, 3))
    tokens = jax.random.randint(jax.random.key(1), (2, 5), 0, 9)
    lengths = np.array([5, 3])
    logits = model(images, tokens, lengths)
    assert logits.shape == (2, 5)
    np.testing.assert_allclose(model(images, tokens.at[1, 3:].set(8), lengths), logits, rtol=1e-5)
    np.testing.assert_allclose(
        model(images[1:], tokens[1:, :3], lengths[1:]), logits[1:], rtol=1e-4, atol=1e-5
    )
    assert not np.allclose(model(images[::-1], tokens, lengths), logits)
    assert not np.allclose(model(images, tokens.at[:, 0].add(1) % 9, lengths), logits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusions": "sum"}, "unknown name 'sum' in --fusions"),
        ({"data": "x", "questions": 5}, "--questions has no use"),
        ({"data": "nowhere"}, "there is no file nowhere"),
    ],
)
def test_bad_input_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(Config(**SMALL | changes, workdir=str(tmp_path / "run")))


def test_a_fusion_that_is_none():
    with pytest.raises(InputError, match="fusion must be one of product, concat, step"):
        QuestionAnswerer(
            9,
            5,
            [gru(4)],
            features=(3,),
            embedding_size=4,
            hidden_size=6,
            fusion="sum",
            rngs=nnx.Rngs(0),
        )
