"""Polyphonic music that a program makes: chords in a Markov chain whose entropy is known."""

import numpy as np

from seqjax.data.sequences import Example, Sequences
from seqjax.data.sets.piano_rolls import LOWEST, NOTES, next_frame

MAJOR, MINOR = (0, 4, 7), (0, 3, 7)
MOVES = {0: 0.4, 5: 0.25, 7: 0.2, 9: 0.1, 2: 0.05}  # of the root, in semitones up
TURN = 0.15  # from major to minor, or back, at any step
LOW = 48  # the C below middle C


def chords() -> np.ndarray:
    """The rolls `[24, 88]` of the chords: roots C to B, each major, then each minor; bass doubled."""
    rolls = np.zeros((24, NOTES), np.uint8)
    for mode, intervals in enumerate((MAJOR, MINOR)):
        for root in range(12):
            pitches = [LOW - 12 + root, *(LOW + 12 + (root + i) % 12 for i in intervals)]
            rolls[12 * mode + root, np.array(pitches) - LOWEST] = 1
    return rolls


def transitions() -> np.ndarray:
    """P `[24, 24]`, rows the chord before. Every chord is as likely as any in the long run."""
    p = np.zeros((24, 24))
    for chord in range(24):
        for move, probability in MOVES.items():
            root = (chord + move) % 12
            same, other = 12 * (chord // 12) + root, 12 * (1 - chord // 12) + root
            p[chord, same] += probability * (1 - TURN)
            p[chord, other] += probability * TURN
    return p


def entropy() -> float:
    """Nats per step of the process, after the first: what no model of any kind can beat."""
    p = transitions()
    return float(-(p * np.log(np.where(p > 0, p, 1))).sum(1).mean())


def independent_entropy(*, uniform: bool = False) -> float:
    """Nats per step of the best model whose notes are independent given the past.

    Args:
      uniform: of the first step, of which the past says nothing.
    """
    q = chords().mean(0)[None] if uniform else transitions() @ chords()
    inside = (q > 0) & (q < 1)
    q = np.where(inside, q, 0.5)
    return float((inside * -(q * np.log(q) + (1 - q) * np.log(1 - q))).sum(1).mean())


def harmony(
    seed: int, *, train: int = 64, valid: int = 32, test: int = 32, steps: int = 40
) -> Sequences:
    """Pieces of the process in three splits: the numbers of pieces, and the steps of each.

    Arrays are as of `load_piano_rolls`.
    """
    rng = np.random.default_rng(seed)
    cumulative, rolls = transitions().cumsum(1), chords()

    def piece() -> np.ndarray:
        chord, path = int(rng.integers(24)), []
        for uniform in rng.random(steps):
            path.append(chord)
            chord = min(int(np.searchsorted(cumulative[chord], uniform)), 23)
        return rolls[path]

    def pieces(number: int) -> list[Example]:
        return [next_frame(piece()) for _ in range(number)]

    return Sequences(pieces(train), pieces(valid), pieces(test), names=())
