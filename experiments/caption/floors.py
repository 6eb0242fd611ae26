"""What can be known exactly of scenes, and what captions score that look at no more than neighbours."""

from itertools import pairwise
from typing import Any

import numpy as np

from experiments.caption.images import Images, Split
from experiments.caption.scores import scores_of, truth
from seqjax.tasks.scenes import blind_entropy, caption_distribution, entropy

NEIGHBOURS = 40
CONSTANT = "a man in a blue shirt is standing on a street"


def floors(images: Images) -> dict[str, Any]:
    """Levels to be set beside the networks."""
    return of_scenes(images) if images.test.scenes else of_captions(images)


def of_scenes(images: Images) -> dict[str, float]:
    """Nats of a caption for one that knows the grammar, on these test captions and on average; and for one that
    sees nothing."""
    test = images.test
    distributions = [caption_distribution(scene) for scene in test.scenes]
    drawn = [-np.log(d[c[0]]) for d, c in zip(distributions, test.captions, strict=True)]
    others = [test.captions[(i + 1) % len(test.captions)][0] for i in range(len(test.captions))]
    return {
        "perfect_nats": float(np.mean(drawn)),
        "perfect_entropy": float(np.mean([entropy(d) for d in distributions])),
        "blind_entropy": blind_entropy(),
        "blind_true": truth(test.scenes, others),
    }


def of_captions(images: Images) -> dict[str, dict[str, float]]:
    """BLEU of a constant caption, of the most similar training image's, and of the consensus of 40 (Devlin et
    al., 2015: of all captions of the neighbours the one that is most like the others)."""
    train, test = images.train, images.test
    flat = [split.images.reshape(len(split.images), -1) for split in (train, test)]
    unit = [f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-9) for f in flat]
    nearest = np.argsort(-(unit[1] @ unit[0].T), axis=1, kind="stable")[:, :NEIGHBOURS]
    first = [train.captions[row[0]][0] for row in nearest]
    agreed = [_consensus(train, row) for row in nearest]
    constant = [CONSTANT] * len(test.captions)
    others = [said[1:] for said in test.captions]
    found = {
        "one caption for all": scores_of(test.captions, constant),
        "caption of the nearest image": scores_of(test.captions, first),
        f"consensus of {NEIGHBOURS} neighbours": scores_of(test.captions, agreed),
    }
    if all(others):  # a person is scored by what others say
        said_first = [said[0] for said in test.captions]
        found["a person, 4 references"] = scores_of(others, said_first)
    return found


def _consensus(train: Split, neighbours: np.ndarray) -> str:
    captions = [caption for i in neighbours for caption in train.captions[i]]
    bags = [_pairs(caption) for caption in captions]
    counts: dict[str, int] = {}
    for bag in bags:
        for item in bag:
            counts[item] = counts.get(item, 0) + 1
    scores = [sum(counts[item] - 1 for item in bag) / (len(bag) + 4) for bag in bags]
    return captions[int(np.argmax(scores))]


def _pairs(caption: str) -> set[str]:
    words = caption.split()
    return {*words, *(f"{a} {b}" for a, b in pairwise(words))}
