"""Films with a label for every frame, as arrays."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments.common.labelling import Sets
from experiments.frames.config import Config
from seqjax.data.sets.gestures import PHASES, GestureFilm, load_gestures
from seqjax.tasks.motion import TASKS, Films
from seqjax.training.labelling import Labelled

HELD_OUT = 500  # films of a task, in validation and in test


class Filmed(NamedTuple):
    """What a network is trained and tested on; of a folder there is one for each film that is left out."""

    name: str
    labels: tuple[str, ...]
    sets: Sets

    def frame(self) -> tuple[int, ...]:
        """The shape of a frame."""
        return self.sets.train.inputs.shape[2:]

    def digest(self) -> str:
        """A SHA-256 sum of all frames and labels."""
        found = hashlib.sha256()
        for films in self.sets[:3]:
            found.update(films.inputs.tobytes() + films.labels.tobytes())
        return found.hexdigest()


def load_films(config: Config) -> list[Filmed]:
    """What the config names."""
    if not config.tasks():
        return list(_left_out(config, load_gestures(config.data)))
    found = []
    for task in config.tasks():
        draw, labels = TASKS[task]
        counts = (config.films, HELD_OUT, HELD_OUT)
        drawn = [
            _labelled(draw(count, config.length, seed=1000 * config.seed + number))
            for number, count in enumerate(counts)
        ]
        found.append(Filmed(task, labels, Sets(drawn[0], drawn[1], drawn[2], (config.length,))))
    return found


def new_films(config: Config, task: str, epoch: int) -> Labelled:
    """Films of an epoch, as many as the first; the training set itself in the first epoch."""
    seed = 1000 * config.seed if epoch == 0 else 1000 * config.seed + 10 + epoch
    return _labelled(TASKS[task][0](config.films, config.length, seed=seed))


def _labelled(films: Films) -> Labelled:
    lengths = np.full(len(films.labels), films.labels.shape[1], np.int32)
    return Labelled(films.frames, lengths, films.labels)


def _left_out(config: Config, films: list[GestureFilm]) -> Iterator[Filmed]:
    """Each film as the test; the next one chooses the best state, the others are for training."""
    for place, test in enumerate(films):
        later = films[(place + 1) % len(films)]
        rest = [film for film in films if film.name not in (test.name, later.name)]
        everything = np.concatenate([film.frames for film in rest])
        mean, deviation = everything.mean(0), everything.std(0) + 1e-6
        pieces = [
            GestureFilm(
                film.name,
                film.frames[start : start + config.length],
                film.labels[start : start + config.length],
            )
            for film in rest
            for start in range(0, len(film.labels), max(1, config.length // 2))
        ]
        train, validation, tested = (
            _padded([f._replace(frames=(f.frames - mean) / deviation) for f in part])
            for part in (pieces, [later], [test])
        )
        yield Filmed(test.name, PHASES, Sets(train, validation, tested, (config.length,)))


def _padded(films: list[GestureFilm]) -> Labelled:
    lengths = np.array([len(film.labels) for film in films], np.int32)
    frames = np.zeros((len(films), lengths.max(), films[0].frames.shape[1]), np.float32)
    labels = np.zeros((len(films), lengths.max()), np.int32)
    for row, film in enumerate(films):
        frames[row, : len(film.labels)], labels[row, : len(film.labels)] = film.frames, film.labels
    return Labelled(frames, lengths, labels)
