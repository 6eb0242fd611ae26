"""Levels of a platform game as rows of tiles, and whether they can be finished.

A level is a tuple of rows, the sky first, each a string of the tiles of the Video Game Level Corpus
(Summerville et al., 2016): `-` is empty, X S Q ? B b < > [ ] are solid, E an enemy, o a coin.

`finish` searches as the corpus's own solver does, in kind: a figure of one tile walks, falls, and jumps along
five arcs that reach 4 tiles up and 8 across; enemies are ignored, and a level is finished at its last column. The
arcs here are of our own, with those limits; of the corpus's levels they finish 15 of the 15 of the first game and
16 of the 22 of the second, which needs platforms that move. `draw_level` draws levels by a small grammar; each can
be finished.
"""

import heapq
from collections.abc import Iterator

import numpy as np

from seqjax.errors import InputError, check_positive, shown

EMPTY, GROUND, ENEMY, COIN, PATH = "-", "X", "E", "o", "x"
SOLID = frozenset("XSQ?Bb<>[]")
TILES = frozenset("-XSQ?Bb<>[]Eo")
HEIGHT = 14

Level = tuple[str, ...]
Place = tuple[int, int]  # row, column

# Places relative to where a jump begins, in tiles up and in tiles ahead.
JUMPS: tuple[tuple[Place, ...], ...] = (
    ((1, 0), (2, 0), (3, 0), (4, 0), (4, 1)),
    ((1, 0), (2, 0), (3, 0), (4, 1), (4, 2), (3, 3)),
    ((1, 1), (2, 1), (3, 2), (4, 2), (4, 3), (3, 4), (2, 4)),
    ((1, 1), (2, 1), (3, 2), (4, 3), (4, 4), (3, 5), (2, 6), (1, 6)),
    ((1, 1), (2, 2), (3, 3), (4, 4), (4, 5), (4, 6), (3, 7), (2, 8), (1, 8)),
)
FALLS: tuple[Place, ...] = ((1, 0), (1, 1), (1, -1), (2, 1), (2, -1))  # tiles down and across

# (row, column, jump, step, direction); no jump is -1
State = tuple[int, int, int, int, int]


def check_level(level: Level, *, tiles: frozenset[str] = TILES) -> None:
    """Raises InputError if rows differ in length, there are none, or a tile is unknown."""
    widths = {len(row) for row in level}
    if len(widths) != 1 or 0 in widths:
        raise InputError(f"the rows of a level must be of one length, got {sorted(widths)}.")
    unknown = sorted({tile for row in level for tile in row} - tiles)
    if unknown:
        raise InputError(
            f"a level has the tiles {''.join(sorted(tiles))}, got {shown(unknown[0])}."
        )


def finish(level: Level, *, starts: int = 3) -> list[Place] | None:
    """The places of a way from one of the first columns to the last one; None if there is none.

    The way has the fewest moves; A*, whose estimate is that a move crosses two columns at most.
    """
    height, width = len(level), len(level[0])

    def solid(row: int, column: int) -> bool:
        # above the screen there is air; at its left edge a wall
        return column < 0 or (0 <= row < height and column < width and level[row][column] in SOLID)

    def stands(row: int, column: int) -> bool:
        return row + 1 < height and not solid(row, column) and solid(row + 1, column)

    def moves(state: State) -> Iterator[State]:
        row, column, jump, step, direction = state
        if jump >= 0:
            up, ahead = JUMPS[jump][step]
            last_up, last_ahead = JUMPS[jump][step - 1] if step else (0, 0)
            there = row - (up - last_up), column + direction * (ahead - last_ahead)
            if not solid(*there):
                following = step + 1 < len(JUMPS[jump])
                yield (*there, jump if following else -1, step + 1 if following else 0, direction)
            else:
                yield row, column, -1, 0, 0  # a head or a shoulder is hit: falling from here
            return
        if stands(row, column):
            for side in (1, -1):
                if not solid(row, column + side):
                    yield row, column + side, -1, 0, 0
                for number in range(len(JUMPS)):
                    yield row, column, number, 0, side
            return
        for down, across in FALLS:
            there = row + down, column + across
            between = [(row + d, column + across) for d in range(1, down + 1)]
            if not any(solid(*place) for place in between):
                yield (*there, -1, 0, 0)

    open_states: list[tuple[int, int, State]] = []
    came: dict[State, State | None] = {}
    moved: dict[State, int] = {}
    for column in range(min(starts, width)):
        for row in range(height):
            if stands(row, column):
                state = (row, column, -1, 0, 0)
                moved[state], came[state] = 0, None
                heapq.heappush(open_states, ((width - column) // 2, 0, state))
    while open_states:
        _, count, state = heapq.heappop(open_states)
        if count > moved[state]:
            continue
        if state[1] >= width - 1:
            way: list[Place] = []
            at: State | None = state
            while at is not None:
                if not way or way[-1] != at[:2]:
                    way.append((at[0], min(at[1], width - 1)))
                at = came[at]
            return way[::-1]
        for following in moves(state):
            if following[0] >= height:
                continue  # a pit
            if count + 1 < moved.get(following, 1 << 60):
                moved[following], came[following] = count + 1, state
                estimate = count + 1 + max(0, width - 1 - following[1]) // 2
                heapq.heappush(open_states, (estimate, count + 1, following))
    return None


def with_path(level: Level) -> Level:
    """The level with the way through it marked by `x`, where the tile is empty.

    Raises:
      InputError: if it cannot be finished.
    """
    way = finish(level)
    if way is None:
        raise InputError("this level cannot be finished: there is no path to mark.")
    rows = [list(row) for row in level]
    for row, column in way:
        if 0 <= row < len(rows) and rows[row][column] == EMPTY:
            rows[row][column] = PATH
    return tuple("".join(row) for row in rows)


def draw_level(random: np.random.Generator, columns: int = 200) -> Level:
    """A level by a grammar of ground, pits, pipes, stairs, blocks and enemies; it can be finished."""
    check_positive("columns", columns, at_most=100_000)
    rows = [[EMPTY] * columns for _ in range(HEIGHT)]

    def fill(column: int, height: int, tile: str = GROUND) -> None:
        for row in range(HEIGHT - height, HEIGHT):
            rows[row][column] = tile

    place = 0
    while place < columns:
        flat = 4 if place == 0 or place > columns - 8 else int(random.integers(3, 9))
        for column in range(place, min(place + flat, columns)):
            fill(column, 2)
        if flat > 4 and place:
            middle = place + flat // 2
            if middle < columns - 6:
                _decorate(random, rows, middle)
        place += flat
        left = columns - place
        if left < 10:
            continue
        piece = int(random.integers(4))
        if piece == 0:  # a pit; running jumps reach farther
            place += int(random.integers(2, 5))
        elif piece == 1:  # a pipe of two columns
            height = int(random.integers(2, 4))
            for column, (top, body) in ((place, "<["), (place + 1, ">]")):
                fill(column, 2 + height, body)
                rows[HEIGHT - 2 - height][column] = top
                fill(column, 2)
            place += 2
        elif piece == 2:  # stairs up and down
            steps = int(random.integers(2, 5))
            for column, height in enumerate([*range(1, steps + 1), *range(steps, 0, -1)]):
                fill(place + column, 2 + height)
            place += 2 * steps
    return tuple("".join(row) for row in rows)


def _decorate(random: np.random.Generator, rows: list[list[str]], column: int) -> None:
    """An enemy on the ground, or blocks or coins above it, around a column."""
    kind = int(random.integers(3))
    if kind == 0:
        rows[HEIGHT - 3][column] = ENEMY
    elif kind == 1:
        for side in (-1, 0, 1):
            rows[HEIGHT - 6][column + side] = "?" if side == 0 else "S"
    else:
        for side in (0, 1):
            rows[HEIGHT - 5][column + side] = COIN
