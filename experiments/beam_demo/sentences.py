"""Sentences for a small language model: captions of a grammar, drawn at random."""

import numpy as np

NOUNS = ("dog", "cat", "boy", "girl", "man", "woman", "horse", "bird")
ADJECTIVES = ("brown", "small", "old", "young", "black", "white")
# Each verb with the places that go with it, so that what comes late depends on what came before.
VERBS = {
    "runs": ("through the snow", "on the beach", "across the street"),
    "sits": ("on a bench", "in the grass", "by the window"),
    "jumps": ("over a fence", "into the water", "in the air"),
    "sleeps": ("in the sun", "on the sofa", "under a tree"),
}
ENDINGS = ("", "with a ball", "at night", "near the house")


def sentences(count: int, seed: int) -> list[tuple[str, ...]]:
    """Words of each of so many sentences."""
    random = np.random.default_rng(seed)

    def one() -> tuple[str, ...]:
        words = ["a" if random.random() < 0.7 else "the"]
        words += random.choice(
            ADJECTIVES, size=random.choice([0, 1, 2], p=[0.4, 0.5, 0.1])
        ).tolist()
        words.append(str(NOUNS[min(len(NOUNS) - 1, random.geometric(0.35) - 1)]))
        verb = str(random.choice(list(VERBS), p=[0.4, 0.3, 0.2, 0.1]))
        places = VERBS[verb]
        words += [verb, *str(places[min(2, random.geometric(0.5) - 1)]).split()]
        words += str(random.choice(ENDINGS, p=[0.6, 0.2, 0.1, 0.1])).split()
        return tuple(words)

    return [one() for _ in range(count)]
