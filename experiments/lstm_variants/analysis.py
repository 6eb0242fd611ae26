"""The analysis of trials.jsonl: the comparison of the variants, the shares of the variance, a table."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from experiments.common.tables import table as aligned
from experiments.lstm_variants.fanova import Shares, fanova
from seqjax.errors import InputError, shown
from seqjax.files.json import read_lines

# Published for JSB Chorales (Greff et al., 2017): the best test result of all trials, and how each
# variant compares with vanilla; "worse" is significant at p = .05.
PUBLISHED_BEST = 8.38
JSB_BASELINE = 11.061  # nats per frame of its independent notes: by this it is known
FAR_OFF = 10  # times the baseline: a finite score above that is of a trial that diverged
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
COMPARISONS = len(PUBLISHED) - 1  # of all variants with V
POWER = 0.8
SHARE, AT_LEAST = 0.1, 5  # the best tenth by validation has at least 5 trials
HYPER = ("learning_rate", "hidden_size", "noise", "momentum")
NUMBERS = (*HYPER, "parameters", "epochs", "best_epoch")
Rows = list[dict[str, Any]]


def is_jsb(task: dict[str, Any]) -> bool:
    """Whether trials are of JSB Chorales, beside which alone the published numbers stand."""
    baseline = task.get("baseline")
    return task.get("task") == "music" and abs((baseline or 0) - JSB_BASELINE) < 0.001


def has_diverged(row: dict[str, Any], baseline: float | None) -> bool:
    """Whether a trial ended at no number, or further off than any that has learnt something."""
    return row.get("end") == "diverged" or bool(baseline and row["test"] > FAR_OFF * baseline)


def read_trials(path: Path) -> tuple[dict[str, Any], dict[str, Rows]]:
    """Reads the task's row, and the trials by variant.

    Raises:
      InputError: if there are no trials, or a line lacks one of a trial's numbers.
    """
    lines = read_lines(path)
    task = next((line for line in lines if line.get("key") == "task"), {})
    variants: dict[str, Rows] = {}
    for number, row in enumerate(lines, 1):
        if row.get("key") == "task":
            continue
        for name in NUMBERS:
            if isinstance(row.get(name), bool) or math.isinf(_as_float(row.get(name))):
                raise InputError(
                    f"line {number} of {path} needs a number under {name!r}, got"
                    f" {shown(row.get(name))}."
                )
        for name in ("valid", "test", "test_by_piece", "seconds_per_epoch"):  # null: not finite
            row[name] = _as_float(row.get(name))
        variants.setdefault(str(row.get("variant")), []).append(row)
    if not variants:
        raise InputError(f"{path} holds no trials; train some without --analyse_only.")
    for name in ("baseline", "floor"):
        value = _as_float(task.get(name))
        task[name] = value if math.isfinite(value) else None
    return task, variants


def _as_float(value: Any) -> float:
    """A number of JSON as a float; infinite for what is none, or an integer that is too large for one."""
    try:
        return float(value) if isinstance(value, int | float) else math.inf
    except OverflowError:
        return math.inf


def best_tenth(rows: Rows) -> Rows:
    """The best tenth by validation, out of the trials with finite scores."""
    learned = [row for row in rows if math.isfinite(row["valid"]) and math.isfinite(row["test"])]
    return sorted(learned, key=lambda row: row["valid"])[: _size_of_best(len(rows))]


def _size_of_best(trials: int) -> int:
    return max(AT_LEAST, math.ceil(SHARE * trials))


def luck(rows: Rows, resamples: int = 1000) -> float:
    """Standard deviation of the best tenth's mean if the search were drawn again.

    By the bootstrap (Efron, 1979): as many trials as there are, drawn from them with replacement. NaN for fewer than
    two trials, of which nothing is known.
    """
    if len(rows) < 2:
        return math.nan
    rng = np.random.default_rng(0)
    draws = rng.integers(len(rows), size=(resamples, len(rows)))
    bests = (best_tenth([rows[i] for i in draw]) for draw in draws.tolist())
    means = [np.mean([row["test"] for row in best]) for best in bests if best]
    return float(np.std(means)) if means else math.inf


def away(rows: Rows, vanilla: Rows) -> float | None:
    """How far the best tenths' means are apart, in standard deviations of their luck together."""
    a, b = ([row["test"] for row in best_tenth(x)] for x in (rows, vanilla))
    apart = math.hypot(luck(rows), luck(vanilla))
    if not a or not b or not math.isfinite(apart) or apart == 0:
        return None
    return float((np.mean(a) - np.mean(b)) / apart)


def trials_needed(rows: Rows, distance: float | None) -> int | None:
    """About how many trials of each variant would tell a difference of this size apart, with a chance of POWER.

    Luck falls with the root of the number of trials in the best tenth, which are AT_LEAST however few there are
    in all. With eight comparisons at P together a difference has to be 2.73 standard deviations (Bonferroni).
    None where there is no difference to be told.
    """
    if not distance:
        return None
    wanted = float(stats.norm.ppf(1 - P / COMPARISONS / 2) + stats.norm.ppf(POWER))
    return math.ceil(_size_of_best(len(rows)) / SHARE * (wanted / distance) ** 2)


def compare(rows: Rows, vanilla: Rows) -> float | None:
    """p of Welch's t-test of the best tenths' test results; None if a side has fewer than two."""
    a, b = ([row["test"] for row in best_tenth(x)] for x in (rows, vanilla))
    if min(len(a), len(b)) < 2 or np.var(a) + np.var(b) == 0:
        return None
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)


def analyse(
    task: dict[str, Any], variants: dict[str, Rows], shares: Shares | None
) -> dict[str, Any]:
    """All numbers of the table: those of each variant, and the shares of the variance."""
    vanilla = variants.get(VANILLA)
    results: dict[str, Any] = {
        "task": task,
        "variants": {
            name: variant_numbers(rows, None if name == VANILLA else vanilla, task.get("baseline"))
            for name, rows in variants.items()
        },
    }
    if shares is not None:
        results["shares"] = shares.alone
        results["pairs"] = {" x ".join(pair): share for pair, share in shares.pairs.items()}
    return results


def variant_numbers(
    rows: Rows, vanilla: Rows | None, baseline: float | None = None
) -> dict[str, Any]:
    """The numbers of one variant, compared with the trials of vanilla unless these are None."""
    best = best_tenth(rows)
    tests = np.array([row["test"] for row in best])
    p = None if vanilla is None else compare(rows, vanilla)
    distance = None if vanilla is None else away(rows, vanilla)
    return {
        "trials": len(rows),
        "diverged": sum(has_diverged(row, baseline) for row in rows),
        "best": float(tests[0]) if len(tests) else None,
        "best_by_piece": best[0]["test_by_piece"] if best else None,
        "mean": float(tests.mean()) if len(tests) else None,
        "std": float(tests.std(ddof=1)) if len(tests) > 1 else None,
        "of": len(best),
        "luck": luck(rows),
        "median_of_all": float(np.median([row["test"] for row in rows])),
        "parameters": float(np.mean([row["parameters"] for row in best])) if best else None,
        "p": p,
        "away": distance,
        "needed": trials_needed(rows, distance),
        "verdict": verdict(p, tests, vanilla),
    }


def verdict(p: float | None, tests: np.ndarray, vanilla: Rows | None) -> str:
    """ "worse" or "better" than vanilla if the difference is significant; "-" without a test."""
    if p is None or vanilla is None:
        return "-"
    if p >= P:
        return "no difference"
    mean = np.mean([row["test"] for row in best_tenth(vanilla)])
    return "worse" if tests.mean() > mean else "better"


def variance_shares(
    task: dict[str, Any], variants: dict[str, Rows], ranges: dict[str, Any]
) -> Shares | None:
    """The shares of the variance over the trials of all variants; None for fewer than 8 trials.

    A trial that diverged, or ended above the independent notes, counts as if it had ended there: how
    much worse it is depends only on when it was stopped.
    """
    rows = [row for rows in variants.values() for row in rows]
    if len(rows) < 8:
        return None
    values = np.array([row["test"] for row in rows])
    cap = task["baseline"] or np.max(values[np.isfinite(values)], initial=0.0)
    settings = np.stack([unit_scale(row, ranges) for row in rows])
    return fanova(HYPER, settings, np.minimum(values, cap))


def unit_scale(row: dict[str, Any], ranges: dict[str, Any]) -> np.ndarray:
    """A trial's hyperparameters, scaled so that the search draws each uniformly in [0, 1]."""

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


HEAD = (
    "",
    "trials",
    "diverged",
    "best",
    "by piece",
    "best tenth",
    "luck",
    "median",
    "p",
    "away",
    "needs",
    "ours",
)


def table(results: dict[str, Any]) -> str:
    """Plain text: a line for each variant, then the values to compare with, then the shares."""
    task = results["task"]
    published = is_jsb(task)
    head = [*HEAD, *["published"] * published]
    body = [variant_line(name, row, published) for name, row in results["variants"].items()]
    return "\n".join(
        [
            f"test, {task.get('unit', '')}; best: of all trials by validation; best tenth: the best"
            f" {SHARE:.0%} by validation, at least {AT_LEAST}; luck: std of its mean if the search is"
            " drawn again (bootstrap); p: Welch's t-test of the best tenths against V; away: from V, in"
            " standard deviations by luck of the difference; needs: about the trials of each that would tell"
            f" such a difference apart with a chance of {POWER:.0%}, corrected for eight comparisons",
            aligned(head, body),
            *level_lines(task, published),
            *share_lines(results),
        ]
    )


def variant_line(name: str, row: dict[str, Any], published: bool) -> list[str]:
    """The line of one variant; the published verdict stands at its end where it is of these data."""
    return [
        LETTERS.get(name, name),
        str(row["trials"]),
        str(row["diverged"]),
        _number(row["best"]),
        _number(row["best_by_piece"]),
        f"{_number(row['mean'])} ± {_number(row['std'])}",
        _number(row["luck"]),
        _number(row["median_of_all"]),
        _number(row["p"]),
        _number(row["away"], 1),
        "-" if row["needed"] is None else f"{row['needed']:,}",
        row["verdict"],
        *([PUBLISHED.get(name, "-")] if published else []),
    ]


def level_lines(task: dict[str, Any], published: bool) -> Iterator[str]:
    """The values that results are compared with."""
    if task.get("baseline"):
        yield f"independent notes: {task['baseline']:.3f}"
    if task.get("floor"):
        yield f"best model whose notes are independent given the past: {task['floor']:.3f}"
    if published:
        yield f"published best of all trials (JSB Chorales): {PUBLISHED_BEST}"


def share_lines(results: dict[str, Any]) -> Iterator[str]:
    """How much of the variance each hyperparameter explains, and what was published."""
    if "shares" not in results:
        return
    alone = ", ".join(f"{name} {share:.2f}" for name, share in results["shares"].items())
    pairs = ", ".join(f"{name} {share:.2f}" for name, share in results["pairs"].items())
    yield f"share of the variance: {alone}"
    yield f"of pairs beyond these: {pairs}"
    if is_jsb(results["task"]):
        yield "published: learning rate above 2/3, then size, then noise, momentum below .01"


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
