"""How good translations are: the share that is exact, or BLEU and chrF by sacreBLEU (Post, 2018)."""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

BINS = 5


def scores_of(wanted: Sequence[str], given: Sequence[str], *, exact: bool) -> dict[str, float]:
    """Scores of translations, the one that counts first: "exact", a share; or "bleu", from 0 to 100."""
    if exact:
        return {"exact": float(np.mean([a == b for a, b in zip(wanted, given, strict=True)]))}
    return {
        "bleu": BLEU(lowercase=True).corpus_score(list(given), [list(wanted)]).score,
        "chrf": CHRF(lowercase=True).corpus_score(list(given), [list(wanted)]).score,
    }


def signature() -> str:
    """What sacreBLEU calls its settings, to be printed beside its numbers."""
    bleu = BLEU(lowercase=True)
    bleu.corpus_score(["a"], [["a"]])
    return str(bleu.get_signature())


def by_length(
    lengths: np.ndarray, wanted: Sequence[str], given: Sequence[str], *, exact: bool
) -> list[dict[str, float]]:
    """The score of the sources of some lengths, in at most five groups of about as many sources each."""
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, BINS + 1)[1:], method="higher"))
    group = np.searchsorted(edges, lengths)
    found = []
    for number in range(len(edges)):
        inside = np.flatnonzero(group == number).tolist()
        if inside:
            scores = scores_of([wanted[i] for i in inside], [given[i] for i in inside], exact=exact)
            length = float(lengths[inside].mean())
            found.append({"length": length, "count": len(inside), **scores})
    return found
