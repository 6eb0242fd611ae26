"""Questions about images, as arrays."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.common.images import LARGEST_PIXEL
from experiments.common.words import frequent, ids, places
from experiments.vqa.config import Config
from seqjax.data.orders import padded
from seqjax.data.sets.easy_vqa import AskedSplit, load_easy_vqa
from seqjax.data.sets.sentences import tokenise
from seqjax.tasks.scenes import ANSWERS, Pair, Scene, draw_questions, forms, render
from seqjax.training.labelling import Labelled

HELD_OUT = 2000  # questions about scenes, in validation and in test
LONGEST = max(len(form.words.split()) for found in forms().values() for form in found)
UNSEEN: frozenset[Pair] = frozenset({("red", "circle"), ("blue", "square")})


class Asked(NamedTuple):
    """A split."""

    images: np.ndarray  # [N, Y, X, 3] uint8
    examples: Labelled  # inputs: "image" [M, Y, X, 3] and "tokens" [M, T]; labels [M]
    words: list[str]  # each question
    kinds: list[str]  # of each question; one kind where there are no others
    scenes: list[Scene]  # of each question; [] where images are no scenes


class Questions(NamedTuple):
    name: str
    tokens: list[str]  # the words, by id
    answers: list[str]
    train: Asked
    validation: Asked
    test: Asked
    unseen: Asked | None  # about pairs of colour and shape that training never shows

    def identity(self) -> dict[str, Any]:
        """What a saved network cannot be read without, and must have been trained on."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            digest.update(split.images.tobytes())
            digest.update(repr(split.words).encode())
            digest.update(np.asarray(split.examples.labels).tobytes())
        return {"questions": digest.hexdigest(), "tokens": self.tokens, "answers": self.answers}

    def by_words(self) -> float:
        """The share of test questions whose most frequent answer in training is right: no image is seen."""
        counts: dict[str, Counter[int]] = {}
        for words, label in zip(self.train.words, self.train.examples.labels, strict=True):
            counts.setdefault(words, Counter())[int(label)] += 1
        best = {words: found.most_common(1)[0][0] for words, found in counts.items()}
        truth = zip(self.test.words, self.test.examples.labels, strict=True)
        return float(np.mean([best.get(words, -1) == label for words, label in truth]))


def load_questions(config: Config) -> Questions:
    """The questions that the config names."""
    if config.data != "scenes":
        return _from_wheel(config)
    seen, unseen = {"without": UNSEEN}, {"only": UNSEEN}
    counts = [(config.questions, seen), (HELD_OUT, seen), (HELD_OUT, seen), (HELD_OUT // 2, unseen)]
    drawn = [
        _draw(count, [config.seed, number], **pairs) for number, (count, pairs) in enumerate(counts)
    ]
    tokens = frequent(word for row in drawn[0][0].questions for word in row[0].split())
    made = [_asked(tokens, ANSWERS, *parts) for parts in drawn]
    return Questions("scenes", tokens, list(ANSWERS), made[0], made[1], made[2], made[3])


def new_questions(config: Config, tokens: list[str], epoch: int) -> Labelled:
    """Questions of an epoch, as many as the first; the training set itself in the first epoch."""
    key = [config.seed, 0] if epoch == 0 else [config.seed, 4, epoch]
    return _asked(tokens, ANSWERS, *_draw(config.questions, key, without=UNSEEN)).examples


def _draw(
    count: int, key: list[int], **pairs: frozenset[Pair]
) -> tuple[AskedSplit, list[str], list[Scene]]:
    random = np.random.default_rng(key)
    questions = draw_questions(random, count, **pairs)
    pixels = render(random, [q.scene for q in questions])
    images = np.round(LARGEST_PIXEL * pixels).astype(np.uint8)
    rows = [(q.words, q.answer, place) for place, q in enumerate(questions)]
    return AskedSplit(images, rows), [q.kind for q in questions], [q.scene for q in questions]


def _from_wheel(config: Config) -> Questions:
    train, test = load_easy_vqa(config.data)
    cut = len(train.images) * 9 // 10  # images of validation are none of training
    parts = [
        train._replace(questions=[q for q in train.questions if (q[2] >= cut) == later])
        for later in (False, True)
    ]
    answers = sorted({answer for _, answer, _ in train.questions})
    tokens = frequent(word for row in parts[0].questions for word in tokenise(row[0]))
    made = [_asked(tokens, answers, part, [], []) for part in (*parts, test)]
    return Questions("easy-VQA", tokens, answers, made[0], made[1], made[2], None)


def _asked(
    tokens: list[str],
    answers: Sequence[str],
    split: AskedSplit,
    kinds: list[str],
    scenes: list[Scene],
) -> Asked:
    table, place = places(tokens), places(list(answers))
    words = [" ".join(tokenise(question)) for question, _, _ in split.questions]
    rows = [ids(w.split(), table) for w in words]
    # (of scenes, the longest question there is: those of every epoch have one shape)
    longest = max(map(len, rows)) if not kinds else LONGEST
    lengths = np.array([len(row) for row in rows], np.int32)
    of = np.array([number for _, _, number in split.questions])
    inputs = {
        "image": split.images[of],
        "tokens": padded([*rows, np.zeros(longest, np.int32)])[:-1],
    }
    labels = np.array([place[answer] for _, answer, _ in split.questions], np.int32)
    examples = Labelled(inputs, lengths, labels)
    return Asked(split.images, examples, words, kinds or ["all"] * len(rows), scenes)
