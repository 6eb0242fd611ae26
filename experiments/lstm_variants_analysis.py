"""What the trials say: a table and four figures, from trials.jsonl alone."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from experiments.lstm_variants_fanova import Shares, fanova
from experiments.plots import COLOURS, label, panels
from seqjax.errors import InputError, shown
from seqjax.jsonfiles import read_lines

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
    lines = [
        f"test, {task.get('unit', '')}; best: of all trials by validation; best tenth: the best"
        f" {SHARE:.0%} by validation, at least {AT_LEAST}; luck: std of its mean if the search is drawn again (bootstrap);"
        " p: Welch's t-test of the best tenths against V",
        f"{'':6}{'trials':>7}{'diverged':>9}{'best':>8}{'by piece':>9}{'best tenth':>16}{'luck':>7}"
        f"{'median':>8}{'p':>8}  ours" + (" (published)" if music else ""),
    ]
    for name, row in found["variants"].items():
        lines.append(
            f"{LETTERS.get(name, name):6}{row['trials']:7d}{row['diverged']:9d}"
            f"{_number(row['best']):>8}{_number(row['best_by_piece']):>9}"
            f"{_number(row['mean']):>8} ± {_number(row['std']):5}{_number(row['luck'], 2):>7}"
            f"{_number(row['median_of_all']):>8}{_number(row['p']):>8}"
            f"  {row['verdict']}" + (f" ({PUBLISHED.get(name, '-')})" if music else "")
        )
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


def draw(
    workdir: Path,
    found: dict[str, Any],
    variants: dict[str, Rows],
    shares: Shares | None,
    ranges: dict[str, Any],
) -> None:
    """variants.png, shares.png, learning_rate.png and seconds.png."""
    boxes(workdir / "variants.png", found, variants)
    rates(workdir / "learning_rate.png", found["task"], variants)
    seconds(workdir / "seconds.png", variants)
    if shares is not None:
        importance(workdir / "shares.png", shares, ranges, found["task"])


def boxes(path: Path, found: dict[str, Any], variants: dict[str, Rows]) -> None:
    """The best tenth of each variant as a box and points; its parameters as bars behind."""
    names = list(variants)
    tests = [[row["test"] for row in best_tenth(variants[name])] for name in names]
    with panels(path) as (axes,):
        bars = axes.twinx()
        sizes = [(found["variants"][name]["parameters"] or 0) / 1000 for name in names]
        bars.bar(range(len(names)), sizes, width=0.7, color="0.9", zorder=0)
        bars.set_ylabel("mean parameters of the best tenth, thousands", color="0.45")
        bars.tick_params(colors="0.45")
        bars.spines[["top"]].set_visible(False)
        bars.set_ylim(0, 2.5 * max([*sizes, 1e-9]))
        axes.set_zorder(bars.get_zorder() + 1)
        axes.patch.set_visible(False)
        for i, (name, values) in enumerate(zip(names, tests, strict=True)):
            if not values:
                continue
            differs = found["variants"][name]["verdict"] in ("worse", "better")
            colour = COLOURS[1] if differs else COLOURS[0]
            axes.boxplot(
                [values],
                positions=[i],
                widths=0.5,
                showfliers=False,
                boxprops={"color": colour, "linewidth": 2 if differs else 1},
                medianprops={"color": colour},
                whiskerprops={"color": colour},
                capprops={"color": colour},
            )
            axes.plot([i] * len(values), values, "o", ms=3, color=colour, alpha=0.6)
        if found["task"].get("task") == "music":
            axes.axhline(PUBLISHED_BEST, color="0.35", linestyle="--", linewidth=1)
            axes.annotate(
                f"published best: {PUBLISHED_BEST}",
                (1, PUBLISHED_BEST),
                xycoords=("axes fraction", "data"),
                xytext=(-4, 3),
                textcoords="offset points",
                ha="right",
                color="0.25",
                fontsize=9,
            )
        axes.set_xticks(range(len(names)), [LETTERS.get(name, name) for name in names])
        unit = found["task"].get("unit", "")
        label(axes, xlabel="variant", ylabel=f"test, {unit}", title="Best tenth of each variant")
        axes.plot([], [], color=COLOURS[1], linewidth=2, label=f"differs from V, p < {P}")
        axes.plot([], [], color=COLOURS[0], label="does not")
        axes.legend(frameon=False, loc="upper left", fontsize=9)


def rates(path: Path, task: dict[str, Any], variants: dict[str, Rows]) -> None:
    """All trials: test result against learning rate, V beside the others."""
    with panels(path) as (axes,):
        everything = [row for rows in variants.values() for row in rows]
        finite = [row["test"] for row in everything if math.isfinite(row["test"])]
        top = task["baseline"] or max(finite, default=1.0)
        for name, rows in variants.items():
            mine = name == VANILLA
            axes.plot(
                [row["learning_rate"] for row in rows],
                [min(row["test"], top * 1.05) for row in rows],
                "o" if mine else "x",
                color=COLOURS[1] if mine else "0.6",
                ms=5 if mine else 4,
                label="V" if mine else None,
                zorder=3 if mine else 2,
            )
        axes.plot([], [], "x", color="0.6", label="variants")
        if task["baseline"]:
            axes.axhline(top, color="0.35", linestyle="--", linewidth=1, label="independent notes")
        axes.set_xscale("log")
        label(
            axes,
            xlabel="learning rate",
            ylabel=f"test, {task.get('unit', '')}",
            title="Every trial (those above the top, and those that diverged, at the top)",
        )
        axes.legend(frameon=False, fontsize=9)


def seconds(path: Path, variants: dict[str, Rows]) -> None:
    """Seconds an epoch of a trial against hidden units."""
    with panels(path) as (axes,):
        for i, (name, rows) in enumerate(variants.items()):
            timed = sorted(
                (row["hidden_size"], row["seconds_per_epoch"])
                for row in rows
                if math.isfinite(row["seconds_per_epoch"])
            )
            if timed:
                x, y = zip(*timed, strict=True)
                style = ("-", "--", ":")[i // len(COLOURS)]
                colour = COLOURS[i % len(COLOURS)]
                axes.plot(x, y, style, color=colour, marker=".", label=LETTERS.get(name, name))
        axes.set_xscale("log")
        axes.set_yscale("log")
        sizes = [row["hidden_size"] for rows in variants.values() for row in rows]
        ticks = [n for n in (5, 10, 20, 50, 100, 200) if min(sizes) <= n <= max(sizes)]
        axes.set_xticks(ticks, ticks)
        axes.set_xticks([], minor=True)
        title = "Time of one epoch of one trial in its chunk"
        label(axes, xlabel="hidden units", ylabel="seconds", title=title)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, ncols=3, fontsize=8)


def importance(path: Path, shares: Shares, ranges: dict[str, Any], task: dict[str, Any]) -> None:
    """Shares of the variance as bars, and the forest's result over learning rate and size."""
    with panels(path, 2) as (bars, heat):
        names = [*shares.alone, *(" x ".join(pair) for pair in shares.pairs)]
        values = [*shares.alone.values(), *shares.pairs.values()]
        names = [name.replace("learning_rate", "rate").replace("_", " ") for name in names]
        colours = [COLOURS[0]] * len(shares.alone) + [COLOURS[5]] * len(shares.pairs)
        bars.barh(range(len(names)), values, color=colours)
        bars.axvline(2 / 3, color="0.35", linestyle="--", linewidth=1)
        bars.annotate(
            "published: rate > 2/3",
            (2 / 3, len(names) - 1),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color="0.25",
        )
        bars.set_yticks(range(len(names)), names)
        bars.invert_yaxis()
        bars.set_xlim(0, 1)
        label(bars, xlabel="share of the variance", ylabel="", title="What explains the result")
        surface = shares.surfaces[("learning_rate", "hidden_size")]
        image = heat.imshow(
            surface.T,
            origin="lower",
            aspect="auto",
            cmap="viridis_r",
            extent=(
                math.log10(ranges["rate_min"]),
                math.log10(ranges["rate_max"]),
                math.log10(ranges["hidden_min"]),
                math.log10(ranges["hidden_max"]),
            ),
        )
        heat.figure.colorbar(image, ax=heat, label=f"test, {task.get('unit', '')}")
        ticks = [n for n in (20, 50, 100, 200) if ranges["hidden_min"] <= n <= ranges["hidden_max"]]
        heat.set_yticks([math.log10(n) for n in ticks], ticks)
        powers = range(
            math.ceil(math.log10(ranges["rate_min"])),
            math.floor(math.log10(ranges["rate_max"])) + 1,
        )
        heat.set_xticks(list(powers), [f"1e{n}" for n in powers])
        title = "Mean over the other hyperparameters"
        heat.set(xlabel="learning rate", ylabel="hidden units", title=title)


def names_of(text: str, known: Sequence[str]) -> list[str]:
    """Variants of a flag.

    Raises:
      InputError: if one is unknown or stands twice.
    """
    names = [name.strip() for name in text.split(",") if name.strip()] or list(known)
    for name in names:
        if name not in known:
            raise InputError(f"unknown variant {name!r}; there are {', '.join(known)}.")
    if len(set(names)) < len(names):
        raise InputError(f"--variants names one twice: {text}.")
    return names
