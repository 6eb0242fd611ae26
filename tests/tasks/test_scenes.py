"""Scenes: their captions' probabilities, the entropies in closed form, and questions that are balanced."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from seqjax import InputError
from seqjax.tasks.scenes import (
    ANSWERS,
    COLOURS,
    KINDS,
    RGB,
    SHAPES,
    Thing,
    answer_to,
    blind_entropy,
    caption_distribution,
    draw_captions,
    draw_questions,
    draw_scenes,
    entropy,
    forms,
    render,
)

WITHOUT = frozenset({("red", "circle"), ("blue", "square")})
SCENE = (Thing("circle", "red", "large", 0, 0), Thing("square", "blue", "small", 0, 2))


def test_captions_have_their_probabilities():
    found = caption_distribution(SCENE)
    assert sum(found.values()) == pytest.approx(1)
    assert found["a red circle"] == pytest.approx(1 / 2 * 1 / 2 * 1 / 2)
    assert found["a red circle left of a small blue square"] == pytest.approx(1 / 16)
    assert not any(word in caption for caption in found for word in ("above", "below"))
    one = caption_distribution(SCENE[:1])
    assert one == {"a red circle": 0.5, "a large red circle": 0.5}
    assert entropy(one) == pytest.approx(math.log(2))
    random = np.random.default_rng(0)
    drawn = Counter(draw_captions(random, SCENE, 4000))
    assert set(drawn) == set(found)
    for caption, p in found.items():
        assert drawn[caption] / 4000 == pytest.approx(p, abs=5 * math.sqrt(p / 4000))


def test_the_entropy_of_what_is_not_seen():
    """The closed form against captions of many scenes."""
    random = np.random.default_rng(1)
    marginal: Counter = Counter()
    scenes = draw_scenes(random, 60_000)
    for scene in scenes:
        for caption, p in caption_distribution(scene).items():
            marginal[caption] += p / len(scenes)
    # of the 36 phrases, a second or none, and four relations: small sampling errors add up
    assert len(marginal) == 36 + 36 * 4 * 36
    assert entropy(marginal) == pytest.approx(blind_entropy(), abs=0.01)
    seen = np.mean([entropy(caption_distribution(scene)) for scene in scenes[:3000]])
    assert seen < blind_entropy() - 2


def test_pictures_show_what_there_is():
    images = render(np.random.default_rng(2), [SCENE, SCENE[1:]])
    assert images.shape == (2, 32, 32, 3)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_allclose(images[0, 6, 6], RGB["red"], atol=0.25)
    np.testing.assert_allclose(images[0, 6, 26], RGB["blue"], atol=0.25)
    assert images[0, 16, 16].max() <= 0.1
    assert images[1, 6, 6].max() <= 0.1
    areas = [
        (
            render(np.random.default_rng(0), [(Thing(s, "red", "large", 1, 1),)])[0].max(-1) > 0.5
        ).sum()
        for s in SHAPES
    ]
    assert areas[1] > areas[0] > areas[2]  # square, circle, triangle


def test_answers():
    right = {
        "is there a red circle ?": "yes",
        "is there a red square ?": "no",
        "how many red things ?": "1",
        "how many triangles ?": "0",
        "what colour is the square ?": "blue",
        "what colour is the triangle ?": "",
        "is the red circle left of the blue square ?": "yes",
        "is the red circle above the blue square ?": "no",
        "is the red circle above the red square ?": "",
    }
    assert {words: answer_to(words, SCENE) for words in right} == right


def test_no_question_tells_its_answer():
    """Whatever the words are, each possible answer is as probable."""
    questions = draw_questions(np.random.default_rng(3), 8000)
    assert Counter(q.kind for q in questions) == dict.fromkeys(KINDS, 2000)
    by_words: dict[str, Counter] = {}
    for q in questions:
        assert answer_to(q.words, q.scene) == q.answer
        assert q.answer in ANSWERS
        by_words.setdefault(q.words, Counter())[q.answer] += 1
    for kind, count in (("exists", 2), ("count", 4), ("colour", 4), ("relation", 2)):
        for form in forms()[kind]:
            assert len(form.answers) == count
            answers = by_words.get(form.words, Counter())
            total = sum(answers.values())
            for answer in form.answers if total > 100 else ():
                share = answers[answer] / total
                assert share == pytest.approx(1 / count, abs=5 * math.sqrt(1 / count / total))


def test_pairs_that_are_held_out():
    random = np.random.default_rng(4)
    for scene in draw_scenes(random, 300, without=WITHOUT):
        assert not {(t.colour, t.shape) for t in scene} & WITHOUT
    for q in draw_questions(random, 400, without=WITHOUT):
        assert not {(t.colour, t.shape) for t in q.scene} & WITHOUT
        assert "red circle" not in q.words
    for q in draw_questions(random, 100, only=WITHOUT):
        assert "red circle" in q.words or "blue square" in q.words
    everything = frozenset((c, s) for c in COLOURS for s in SHAPES)
    with pytest.raises(InputError, match="leaves no thing"):
        draw_scenes(random, 1, without=everything)


@pytest.mark.parametrize(
    "without",
    [
        frozenset(("green", shape) for shape in SHAPES),
        frozenset((colour, "circle") for colour in COLOURS),
        frozenset(itertools.product(COLOURS, SHAPES)) - {("red", "square")},
    ],
)
def test_questions_of_smaller_worlds_come_to_an_end(without):
    questions = draw_questions(np.random.default_rng(0), 60, without=without)
    assert len(questions) == 60
    for question in questions:
        assert answer_to(question.words, question.scene) == question.answer
        assert not without & {(thing.colour, thing.shape) for thing in question.scene}


def test_worlds_without_questions_are_refused():
    random = np.random.default_rng(0)
    with pytest.raises(InputError, match="without leaves no pair"):
        draw_questions(random, 1, without=frozenset(itertools.product(COLOURS, SHAPES)))
    with pytest.raises(InputError, match="no question names one of only"):
        draw_questions(random, 1, only=frozenset({("purple", "circle")}))
