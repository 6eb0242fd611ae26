"""What counting can do: the floors that a network must beat."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from seqjax.data.sets.columns import TaggedSentence

LONGEST_SUFFIX = 5
Counts = dict[str, Counter[str]]


def baselines(
    train: Sequence[TaggedSentence], test: Sequence[TaggedSentence]
) -> dict[str, list[list[str]]]:
    """The tags that each baseline gives to the test sentences, by its name."""
    by_word = _counts(train, lambda s: s.words)
    most = Counter(tag for s in train for tag in s.tags).most_common(1)[0][0]

    def of_word(word: str) -> str:
        return _most(by_word[word]) if word in by_word else most

    by_suffix = _suffix_counts(train)

    def of_word_or_suffix(word: str) -> str:
        if word in by_word:
            return _most(by_word[word])
        for length in range(min(LONGEST_SUFFIX, len(word)), 0, -1):
            if word[-length:] in by_suffix:
                return _most(by_suffix[word[-length:]])
        return most

    found = {
        "most frequent tag of the word": [[of_word(w) for w in s.words] for s in test],
        "... or of the longest known ending": [
            [of_word_or_suffix(w) for w in s.words] for s in test
        ],
    }
    if train[0].given:
        by_given = _counts(train, lambda s: s.given)
        found["most frequent tag of the part of speech"] = [
            [_most(by_given[g]) if g in by_given else most for g in s.given] for s in test
        ]
    return found


def _counts(
    sentences: Sequence[TaggedSentence], column: Callable[[TaggedSentence], Sequence[str]]
) -> Counts:
    """How often each value of a column has each tag."""
    counts: Counts = defaultdict(Counter)
    for sentence in sentences:
        for value, tag in zip(column(sentence), sentence.tags, strict=True):
            counts[value][tag] += 1
    return dict(counts)


def _suffix_counts(sentences: Sequence[TaggedSentence]) -> Counts:
    """How often each ending of up to five letters has each tag, among words seen once.

    What is new is like what is rare (Brants, 2000).
    """
    times = Counter(word for s in sentences for word in s.words)
    counts: Counts = defaultdict(Counter)
    for sentence in sentences:
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            if times[word] == 1:
                for length in range(1, min(LONGEST_SUFFIX, len(word)) + 1):
                    counts[word[-length:]][tag] += 1
    return dict(counts)


def _most(counts: Counter[str]) -> str:
    """The most frequent tag; of equally frequent ones the first by name."""
    return min(counts, key=lambda tag: (-counts[tag], tag))
