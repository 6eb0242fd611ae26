"""Scenes of one to three things on a grid, with captions and questions whose probabilities are exact.

A scene has 32 x 32 pixels, 3 x 3 places of 10 pixels with a border of one, and in distinct places 1, 2 or 3
things (as probable), each a circle, square or triangle, of one of four colours, small or large.

A caption is about a thing, chosen at random: "a red circle", or "a large red circle" half of the time. Of
scenes with more things, half of the captions go on with how it lies to another: "a red circle left of a small
blue square", uniformly among the pairs of a relation and a thing of which it holds. So the probability of
every caption given a scene is known, and with it the entropy that no captioner can pass; and so is the
entropy of captions for one that sees nothing, by symmetry.

A question has the same answers with the same probabilities whatever its words are, because words are drawn
first, then an answer, then a scene for which it is right: one that sees nothing is right on 1/2 of yes and no,
and on 1/4 of numbers and colours.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.errors import InputError, check_positive, shown

SIDE, CELL, MOST = 32, 10, 3
SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "green", "blue", "yellow")
SIZES = ("small", "large")
PIXELS = {"small": 5, "large": 9}
RGB = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.75, 0.1),
    "blue": (0.15, 0.25, 0.95),
    "yellow": (0.95, 0.9, 0.1),
}
RELATIONS = ("left of", "right of", "above", "below")
KINDS = ("exists", "count", "colour", "relation")
ANSWERS = ("yes", "no", "0", "1", "2", "3", *COLOURS)


class Thing(NamedTuple):
    shape: str
    colour: str
    size: str
    row: int
    column: int


Scene = tuple[Thing, ...]
Pair = tuple[str, str]  # a colour and a shape


def draw_scenes(
    random: np.random.Generator, count: int, *, without: frozenset[Pair] = frozenset()
) -> list[Scene]:
    """Scenes at random; none has a thing of a colour and a shape that stand in `without`."""
    check_positive("count", count)
    pairs = [(c, s) for c in COLOURS for s in SHAPES if (c, s) not in without]
    if not pairs:
        raise InputError("without leaves no thing that a scene may have.")
    scenes = []
    numbers = random.integers(1, MOST + 1, size=count)
    for number in numbers:
        places = random.permutation(9)[:number]
        kinds = random.integers(len(pairs), size=number)
        sizes = random.integers(2, size=number)
        scenes.append(
            tuple(
                Thing(pairs[k][1], pairs[k][0], SIZES[s], int(p) // 3, int(p) % 3)
                for k, s, p in zip(kinds, sizes, places, strict=True)
            )
        )
    return scenes


def render(random: np.random.Generator, scenes: list[Scene]) -> np.ndarray:
    """Pictures `[N, 32, 32, 3]` float32 in [0, 1]: things shifted by up to a pixel, colours with noise."""
    images = np.empty((len(scenes), SIDE, SIDE, 3), np.float32)
    images[:] = random.uniform(0, 0.1, size=(len(scenes), 1, 1, 1))
    for image, scene in zip(images, scenes, strict=True):
        for thing in scene:
            shift_y, shift_x = random.integers(-1, 2, size=2)
            top, left = CELL * thing.row + shift_y + 1, CELL * thing.column + shift_x + 1
            inside = image[top : top + CELL, left : left + CELL]
            noise = random.normal(scale=0.05, size=3)
            inside[_MASKS[thing.shape, thing.size]] = np.array(RGB[thing.colour]) + noise
    return np.clip(images, 0, 1)


def _mask(shape: str, radius: float) -> np.ndarray:
    """Which pixels `[10, 10]` of a place a thing covers, its middle at (5, 5)."""
    y, x = np.mgrid[:CELL, :CELL] - CELL // 2
    if shape == "circle":
        return y**2 + x**2 <= radius**2
    inside = (np.abs(y) <= radius) & (np.abs(x) <= radius)
    if shape == "square":
        return inside
    return inside & (np.abs(x) <= (y + radius) / 2)  # its tip is up


_MASKS = {(shape, size): _mask(shape, PIXELS[size] / 2) for shape in SHAPES for size in SIZES}


def holds(relation: str, a: Thing, b: Thing) -> bool:
    """Whether a is in this relation to b: by column or by row, strictly."""
    return {
        "left of": a.column < b.column,
        "right of": a.column > b.column,
        "above": a.row < b.row,
        "below": a.row > b.row,
    }[relation]


# ---------------------------------------------------------------- captions


def _phrases(thing: Thing) -> Iterator[tuple[str, float]]:
    yield f"a {thing.colour} {thing.shape}", 0.5
    yield f"a {thing.size} {thing.colour} {thing.shape}", 0.5


def caption_distribution(scene: Scene) -> dict[str, float]:
    """The probability of every caption of a scene; the others are not true of it."""
    found: dict[str, float] = {}

    def add(caption: str, p: float) -> None:
        found[caption] = found.get(caption, 0.0) + p

    for thing in scene:
        pairs = [(r, b) for b in scene if b is not thing for r in RELATIONS if holds(r, thing, b)]
        for phrase, p in _phrases(thing):
            p /= len(scene)
            if not pairs:
                add(phrase, p)
                continue
            add(phrase, p / 2)
            for relation, other in pairs:
                for second, q in _phrases(other):
                    add(f"{phrase} {relation} {second}", p / 2 * q / len(pairs))
    return found


def entropy(distribution: dict[str, float]) -> float:
    """In nats."""
    return -sum(p * math.log(p) for p in distribution.values())


def draw_captions(random: np.random.Generator, scene: Scene, count: int) -> list[str]:
    """Captions of a scene, independent of each other."""
    distribution = caption_distribution(scene)
    return [str(c) for c in random.choice(list(distribution), count, p=list(distribution.values()))]


def blind_entropy() -> float:
    """The entropy of a caption of a scene that is not seen, in nats.

    Shapes, colours and sizes are uniform and independent of the places, and reflections and transposition
    leave the distribution of places as it is: so the four relations are as probable, and both phrases and
    the relation are independent. Two scenes of three have a second thing, of which half is spoken.
    """
    phrase = math.log(2) + 0.5 * math.log(12) + 0.5 * math.log(24)
    goes_on = 2 / 3 * 1 / 2
    end = -goes_on * math.log(goes_on) - (1 - goes_on) * math.log(1 - goes_on)
    return phrase + end + goes_on * (math.log(4) + phrase)


# ---------------------------------------------------------------- questions


class Question(NamedTuple):
    words: str
    answer: str
    kind: str
    scene: Scene


class _Form(NamedTuple):
    """A question's words, and the answers it may have."""

    words: str
    kind: str
    answers: tuple[str, ...]
    about: tuple[Pair, ...]  # what is named by colour and shape


def forms(without: frozenset[Pair] = frozenset()) -> dict[str, list[_Form]]:
    """Every question, by its kind; none names a pair of `without`, or asks for what no scene has or all have.

    Raises:
      InputError: if `without` leaves no pair.
    """
    pairs = [(c, s) for c in COLOURS for s in SHAPES if (c, s) not in without]
    if not pairs:
        raise InputError("without leaves no pair of colour and shape that a scene could have.")
    found: dict[str, list[_Form]] = {kind: [] for kind in KINDS}
    yes_no, numbers = ANSWERS[:2], ANSWERS[2:6]
    for pair in pairs:
        words = f"is there a {' '.join(pair)} ?"
        possible = yes_no if len(pairs) > 1 else yes_no[:1]
        found["exists"].append(_Form(words, "exists", possible, (pair,)))
        for other in pairs:
            for relation in RELATIONS if other != pair else ():
                words = f"is the {' '.join(pair)} {relation} the {' '.join(other)} ?"
                found["relation"].append(_Form(words, "relation", yes_no, (pair, other)))
    colours_there, shapes_there = ({pair[k] for pair in pairs} for k in (0, 1))
    for word in (c for c in COLOURS if c in colours_there):
        answers = numbers if len(colours_there) > 1 else numbers[1:]
        found["count"].append(_Form(f"how many {word} things ?", "count", answers, ()))
    for word in (s for s in SHAPES if s in shapes_there):
        answers = numbers if len(shapes_there) > 1 else numbers[1:]
        found["count"].append(_Form(f"how many {word}s ?", "count", answers, ()))
        colours = tuple(c for c in COLOURS if (c, word) not in without)
        found["colour"].append(_Form(f"what colour is the {word} ?", "colour", colours, ()))
    return found


def answer_to(words: str, scene: Scene) -> str:
    """The answer to a question; "" where it does not apply: what it names is not there, or there twice."""
    parts = words.removesuffix(" ?").split()
    if words.startswith("is there"):
        there = any((t.colour, t.shape) == (parts[3], parts[4]) for t in scene)
        return "yes" if there else "no"
    if words.startswith("how many"):
        word = parts[2].removesuffix("s")
        return str(sum(word in (t.colour, t.shape) for t in scene))
    if words.startswith("what colour"):
        named = [t for t in scene if t.shape == parts[-1]]
        return named[0].colour if len(named) == 1 else ""
    relation = " ".join(parts[4:-3])
    first, second = (
        [t for t in scene if (t.colour, t.shape) == pair]
        for pair in ((parts[2], parts[3]), (parts[-2], parts[-1]))
    )
    if len(first) != 1 or len(second) != 1:
        return ""
    return "yes" if holds(relation, first[0], second[0]) else "no"


def draw_questions(
    random: np.random.Generator,
    count: int,
    *,
    without: frozenset[Pair] = frozenset(),
    only: frozenset[Pair] = frozenset(),
) -> list[Question]:
    """Questions at random, as many of each kind, with scenes for which their answers are right.

    Args:
      random: the generator.
      count: how many.
      without: pairs of colour and shape that neither scenes nor words have.
      only: where not empty, each question names one of these, and is of a kind that names.

    Raises:
      InputError: if there is no such question.
    """
    check_positive("count", count)
    by_kind = forms(without)
    if only:
        by_kind = {
            kind: [form for form in found if set(form.about) & only]
            for kind, found in by_kind.items()
        }
    kinds = [kind for kind, found in by_kind.items() if found]
    if not kinds:
        raise InputError(f"no question names one of only={shown(sorted(only))}.")
    questions = []
    for number in range(count):
        form = _one_of(random, by_kind[kinds[number % len(kinds)]])
        answer = _one_of(random, form.answers)
        scene = _scene_for(random, form, answer, without)
        questions.append(Question(form.words, answer, form.kind, scene))
    return questions


def _one_of(random: np.random.Generator, items: Sequence[Any]) -> Any:
    return items[int(random.integers(len(items)))]


def _scene_for(
    random: np.random.Generator, form: _Form, answer: str, without: frozenset[Pair]
) -> Scene:
    """A scene for which a question has an answer, by rejection: one of those that could be drawn.

    What the question names is put into the scene first where the answer needs it there; the rest is drawn,
    and drawn again until the answer is right.
    """
    while True:
        (scene,) = draw_scenes(random, 1, without=without)
        things = list(scene)
        if form.kind == "relation" or (form.kind == "exists" and answer == "yes"):
            if len(things) < len(form.about):
                continue
            for place, (colour, shape) in enumerate(form.about):
                things[place] = things[place]._replace(colour=colour, shape=shape)
        elif form.kind == "count":
            word = form.words.removesuffix(" ?").split()[2].removesuffix("s")
            if len(things) < int(answer):
                continue
            named = [
                t._replace(colour=word) if word in COLOURS else t._replace(shape=word)
                for t in things[: int(answer)]
            ]
            things = named + things[int(answer) :]
        made = tuple(things)
        if any((t.colour, t.shape) in without for t in made):
            continue
        if answer_to(form.words, made) == answer:
            return made
