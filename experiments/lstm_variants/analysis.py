"""What the trials say, from trials.jsonl alone: the comparison, the shares of the variance, a table."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from experiments.common.tables import table as aligned
from experiments.lstm_variants.fanova import Shares, fanova
from seqjax.errors import InputError, shown
from seqjax.files.json import read_lines

# Of JSB Chorales. Best test result of all trials, and how each variant compares with vanilla (Greff
# et al., 2017): "worse" is significant at p = .05.
PUBLISHED_BEST = 8.38
PUBLISHED = {
    "lstm_peephole": "-",
    "lstm_nig": "no difference",
    "lstm_nfg": "worse",
    "lstm_nog": "no difference",
    "lstm_niaf": "no difference",
    "lstm_noaf": "worse",
    "lstm_np": "no difference",
    "lstm_cifg": "no difference",
    "lstm_fgr": "worse",
}
LETTERS = {name: name.removeprefix("lstm_").upper() for name in PUBLISHED} | {"lstm_peephole": "V"}
VANILLA = "lstm_peephole"
P = 0.05
SHARE, AT_LEAST = 0.1, 5  # the best tenth by validation, and never fewer than so many trials
HYPER = ("learning_rate", "hidden_size", "noise", "momentum")
NUMBERS = (*HYPER, "parameters", "epochs", "best_epoch")
Rows = list[dict[str, Any]]


def read_trials(path: Path) -> tuple[dict[str, Any], dict[str, Rows]]:
    """The task's row, and the trials by variant.

    Raises:
      InputError: if there are none, or a line lacks what a trial has.
    """
    lines = read_lines(path)
    task = next((line for line in lines if line.get("key") == "task"), {})
    variants: dict[str, Rows] = {}
    for number, row in enumerate(lines, 1):
        if row.get("key") == "task":
            continue
        for name in NUMBERS:
            if isinstance(row.get(name), bool) or not isinstance(row.get(name), int | float):
                raise InputError(
                    f"line {number} of {path} needs a number under {name!r}, got"
                    f" {shown(row.get(name))}."
                )
        for name in ("valid", "test", "test_by_piece", "seconds_per_epoch"):  # null: not finite
            value = row.get(name, math.inf)
            row[name] = float(value) if isinstance(value, int | float) else math.inf
        variants.setdefault(str(row.get("variant")), []).append(row)
    if not variants:
        raise InputError(f"{path} holds no trials; train some without --analyse_only.")
    for name in ("baseline", "floor"):
        value = task.get(name)
        task[name] = float(value) if isinstance(value, int | float) else None
    return task, variants


def best_tenth(rows: Rows) -> Rows:
    """The best by validation, of those that learned anything finite."""
    learned = [row for row in rows if math.isfinite(row["valid"]) and math.isfinite(row["test"])]
    count = max(AT_LEAST, math.ceil(SHARE * len(rows)))
    return sorted(learned, key=lambda row: row["valid"])[:count]


def luck(rows: Rows, resamples: int = 1000) -> float:
    """Standard deviation of the best tenth's mean over searches as lucky and as unlucky as this one.

    The trials are drawn again, with replacement, as often as there are trials (Efron, 1979).
    """
    rng = np.random.default_rng(0)
    draws = rng.integers(len(rows), size=(resamples, len(rows)))
    bests = (best_tenth([rows[i] for i in draw]) for draw in draws.tolist())
    means = [np.mean([row["test"] for row in best]) for best in bests if best]
    return float(np.std(means)) if means else math.inf


def compare(rows: Rows, vanilla: Rows) -> float | None:
    """Welch's t-test of the best tenths' test results: p; None if one side has less than two."""
    a, b = ([row["test"] for row in best_tenth(x)] for x in (rows, vanilla))
    if min(len(a), len(b)) < 2 or np.var(a) + np.var(b) == 0:
        return None
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)


def analyse(
    task: dict[str, Any], variants: dict[str, Rows], shares: Shares | None
) -> dict[str, Any]:
    """All numbers of the table: by variant, and the shares of the variance."""
    found: dict[str, Any] = {"task": task, "variants": {}}
    for name, rows in variants.items():
        best = best_tenth(rows)
        tests = np.array([row["test"] for row in best])
        p = compare(rows, variants[VANILLA]) if VANILLA in variants and name != VANILLA else None
        vanilla = [row["test"] for row in best_tenth(variants.get(VANILLA, []))]
        verdict = "-"
        if p is not None:
            worse = tests.mean() > np.mean(vanilla)
            verdict = "no difference" if p >= P else "worse" if worse else "better"
        found["variants"][name] = {
            "trials": len(rows),
            "diverged": sum(row.get("end") == "diverged" for row in rows),
            "best": float(tests[0]) if len(tests) else None,
            "best_by_piece": best[0]["test_by_piece"] if best else None,
            "mean": float(tests.mean()) if len(tests) else None,
            "std": float(tests.std(ddof=1)) if len(tests) > 1 else None,
            "of": len(best),
            "luck": luck(rows),
            "median_of_all": float(np.median([row["test"] for row in rows])),
            "parameters": float(np.mean([row["parameters"] for row in best])) if best else None,
            "p": p,
            "verdict": verdict,
        }
    if shares is not None:
        found["shares"] = shares.alone
        found["pairs"] = {" x ".join(pair): share for pair, share in shares.pairs.items()}
    return found


def variance_shares(
    task: dict[str, Any], variants: dict[str, Rows], ranges: dict[str, Any]
) -> Shares | None:
    """Over the trials of all variants; None if they are too few.

    A trial that diverged, or ended above the independent notes, counts as these do: how far
    off it is depends on when it was stopped.
    """
    rows = [row for rows in variants.values() for row in rows]
    if len(rows) < 8:
        return None
    values = np.array([row["test"] for row in rows])
    cap = task["baseline"] or np.max(values[np.isfinite(values)], initial=0.0)
    settings = np.stack([unit_scale(row, ranges) for row in rows])
    return fanova(HYPER, settings, np.minimum(values, cap))


def unit_scale(row: dict[str, Any], ranges: dict[str, Any]) -> np.ndarray:
    """A trial's hyperparameters as the search drew them: even in [0, 1]."""

    def log(value: float, low: float, high: float) -> float:
        return math.log(max(value, low) / low) / math.log(high / low) if high > low else 0.5

    return np.array(
        [
            log(row["learning_rate"], ranges["rate_min"], ranges["rate_max"]),
            log(row["hidden_size"], ranges["hidden_min"], ranges["hidden_max"]),
            row["noise"] / ranges["noise_max"] if ranges["noise_max"] else 0.5,
            log(1 - row["momentum"], ranges["momentum_min"], 1.0),
        ]
    )


def table(found: dict[str, Any]) -> str:
    """Plain text, a line for each variant."""
    task = found["task"]
    music = task.get("task") == "music"
    head = [
        "",
        "trials",
        "diverged",
        "best",
        "by piece",
        "best tenth",
        "luck",
        "median",
        "p",
        "ours",
    ]
    body = [
        [
            LETTERS.get(name, name),
            str(row["trials"]),
            str(row["diverged"]),
            _number(row["best"]),
            _number(row["best_by_piece"]),
            f"{_number(row['mean'])} ± {_number(row['std'])}",
            _number(row["luck"]),
            _number(row["median_of_all"]),
            _number(row["p"]),
            row["verdict"],
            *([PUBLISHED.get(name, "-")] if music else []),
        ]
        for name, row in found["variants"].items()
    ]
    lines = [
        f"test, {task.get('unit', '')}; best: of all trials by validation; best tenth: the best"
        f" {SHARE:.0%} by validation, at least {AT_LEAST}; luck: std of its mean if the search is"
        " drawn again (bootstrap); p: Welch's t-test of the best tenths against V",
        aligned(head + ["published"] * music, body),
    ]
    if task.get("baseline"):
        lines.append(f"independent notes: {task['baseline']:.3f}")
    if task.get("floor"):
        lines.append(f"best model whose notes are independent given the past: {task['floor']:.3f}")
    if music:
        lines.append(f"published best of all trials (JSB Chorales): {PUBLISHED_BEST}")
    if "shares" in found:
        alone = ", ".join(f"{k} {v:.2f}" for k, v in found["shares"].items())
        pairs = ", ".join(f"{k} {v:.2f}" for k, v in found["pairs"].items())
        lines.append(f"share of the variance: {alone}")
        lines.append(f"of pairs beyond these: {pairs}")
        lines.append(
            "published: learning rate above 2/3, then size, then noise, momentum below .01"
        )
    return "\n".join(lines)


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
