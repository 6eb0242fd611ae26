"""Small Markov chains, in which every probability can be read: what the page opens with.

`END` ends a sentence. A row says what may follow a word, with its probability; "" is the beginning.
"""

END = "■"

Chain = dict[str, dict[str, float]]

# Greedy decoding takes "nice" (.5) and ends at .5 · .4 = .2; the best sentence begins with "clever":
# .4 · .9 = .36.
GARDEN_PATH: Chain = {
    "": {"nice": 0.5, "clever": 0.4, "odd": 0.1},
    "nice": {"idea": 0.4, "try": 0.35, "one": 0.25},
    "clever": {"fox": 0.9, "one": 0.1},
    "odd": {"one": 0.6, "fox": 0.4},
    **{word: {END: 1.0} for word in ("idea", "try", "one", "fox")},
}

# K = 3, as lectures draw it: the first beam is "a", "the", "red".
THREE: Chain = {
    "": {"a": 0.45, "the": 0.3, "red": 0.15, "dog": 0.1},
    "a": {"red": 0.4, "dog": 0.35, "cat": 0.25},
    "the": {"dog": 0.45, "red": 0.3, "cat": 0.25},
    "red": {"dog": 0.6, "cat": 0.3, END: 0.1},
    "dog": {"barks": 0.55, "sees": 0.35, END: 0.1},
    "cat": {"sleeps": 0.6, "sees": 0.3, END: 0.1},
    "barks": {END: 1.0},
    "sleeps": {END: 1.0},
    "sees": {"the": 0.5, "a": 0.4, "red": 0.1},
}

# Without a length penalty the empty sentence wins over every longer one, though each of these is more
# probable word by word.
SHORT: Chain = {
    "": {END: 0.3, "it": 0.7},
    "it": {"was": 0.8, "is": 0.2},
    "was": {"raining": 0.7, "late": 0.3},
    "is": {"raining": 0.5, "late": 0.5},
    "raining": {"again": 0.5, END: 0.5},
    "late": {"again": 0.5, END: 0.5},
    "again": {END: 1.0},
}

CHAINS = {
    "Garden path": (
        GARDEN_PATH,
        2,
        "Greedy decoding (K = 1) takes “nice”, the more probable word, and ends at 0.5 · 0.4 = 0.20. A beam"
        " of 2 keeps “clever” as well, and finds 0.4 · 0.9 = 0.36.",
    ),
    "Three beams": (
        THREE,
        3,
        "The usual lecture drawing with K = 3: “a”, “the” and “red” stay after the first word. Of all words"
        " after these three, the three most probable strings stay again.",
    ),
    "Too short": (
        SHORT,
        4,
        "A sum of log-probabilities only falls, so the empty sentence beats longer ones. Divide by the length"
        " (“average”) and it does no longer.",
    ),
}
