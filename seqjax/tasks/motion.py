"""Short films of one dot, with a label for every frame.

`moving_dots`: the dot moves by a pixel in one of four directions, on a torus, and takes another direction with
probability 1/8; the label is the direction in which it came. One frame alone tells nothing: 1/4. With the frame before
it it tells all, but for the first frame, whose label is a guess: (T - 1 + 1/4) / T at most. Who also sees later frames
guesses that one from the second: (T - 1 + 7/8) / T.

`bounces`: the dot moves on diagonals in a box; the label is the number of walls it has hit so far, modulo 3. No
number of frames before the label tells it but all of them.
"""

from typing import NamedTuple

import numpy as np

from seqjax.errors import check_positive

SIDE = 12
MOVES = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])  # rows, columns
DIRECTIONS = ("right", "left", "down", "up")
HAZARD = 1 / 8
MODULO = 3


class Films(NamedTuple):
    frames: np.ndarray  # [N, T, SIDE, SIDE, 1] float32
    labels: np.ndarray  # [N, T] int32


def moving_dots(count: int, length: int, *, seed: int) -> Films:
    """Films of a dot that changes its direction now and then."""
    check_positive("count", count)
    check_positive("length", length, at_most=10_000)
    random = np.random.default_rng(seed)
    place = random.integers(SIDE, size=(count, 2))
    direction = random.integers(4, size=count)
    frames = np.zeros((count, length, SIDE, SIDE, 1), np.float32)
    labels = np.zeros((count, length), np.int32)
    for t in range(length):
        turns = random.random(count) < HAZARD
        other = (direction + random.integers(1, 4, size=count)) % 4
        direction = np.where(turns, other, direction)
        place = (place + MOVES[direction]) % SIDE
        frames[np.arange(count), t, place[:, 0], place[:, 1], 0] = 1
        labels[:, t] = direction
    return Films(frames, labels)


def bounces(count: int, length: int, *, seed: int) -> Films:
    """Films of a dot that is thrown back by the walls."""
    check_positive("count", count)
    check_positive("length", length, at_most=10_000)
    random = np.random.default_rng(seed)
    # away from the walls: whether the first step was thrown back would not be seen
    place = random.integers(1, SIDE - 1, size=(count, 2))
    speed = random.choice([-1, 1], size=(count, 2))
    hits = np.zeros(count, int)
    frames = np.zeros((count, length, SIDE, SIDE, 1), np.float32)
    labels = np.zeros((count, length), np.int32)
    for t in range(length):
        if t:
            hit = (place + speed < 0) | (place + speed >= SIDE)
            speed = np.where(hit, -speed, speed)
            hits += hit.sum(1)
            place = place + speed
        frames[np.arange(count), t, place[:, 0], place[:, 1], 0] = 1
        labels[:, t] = hits % MODULO
    return Films(frames, labels)


TASKS = {
    "dots": (moving_dots, DIRECTIONS),
    "bounces": (bounces, tuple(str(number) for number in range(MODULO))),
}
