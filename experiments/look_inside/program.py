"""Looks inside a trained character model: which unit follows which property of the text.

Claim: after minutes of training some memory cells can be read: one follows brackets, one comments,
one the condition of an `if` (Karpathy, Johnson and Fei-Fei, "Visualizing and Understanding Recurrent
Networks", 2015). A score ranks them, on text that had no part in the choice of their direction, and the
page says how well the best of all units does by chance.

    python -m experiments.look_inside --checkpoint=RUN

reads the first 20,000 characters of the run's own validation text (or --text=PATH) with a model of
`experiments.char_lm` and writes RUN/look_inside.html (or --output=PATH) in about 30 s: one file
that needs no server and no network. It shows the text coloured by any unit, the model's five best
predictions at every character, the units ranked for every property, the saturation of the gates,
and a breakdown of the errors beside the published one.

The file is kept below --max_megabytes. It holds 8 bits for each value, deflated: first the states (h,
and c of an LSTM) of all units, then their gates, of both the units first that rank high for some
property, until the file is full. For 20,000 characters and 256 LSTM units the default of 10 holds h and
c of all units and the gates of 37; --max_megabytes=25 holds everything.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import cli
from experiments.look_inside.errors import PUBLISHED, Errors, break_down
from experiments.look_inside.model import (
    Reading,
    choose_text,
    load,
    mean_bits,
    read,
    source_of,
    texts_of,
)
from experiments.look_inside.page import STATES, Series, build, predictions
from experiments.look_inside.ranking import Ranked, rank_units
from experiments.look_inside.text import Property, properties
from seqjax.data import TextSplits
from seqjax.errors import InputError, check_positive, check_rate
from seqjax.files.json import write_atomically
from seqjax.training.saved_models import SavedLanguageModel

LISTED = 10  # units per property
GOOD = 0.9  # an AUC worth a name


@dataclasses.dataclass(frozen=True)
class Config:
    checkpoint: str = cli.option(
        "", "the workdir of a run of experiments.char_lm, or a checkpoint in it"
    )
    data: str = cli.option(
        "", "the run's own --data; not needed where that was the standard library"
    )
    text: str = cli.option("", "a UTF-8 text file to read; empty for the run's validation text")
    chars: int = cli.option(20_000, "number of characters to read, from the start of the text")
    output: str = cli.option("", "file to write; empty for look_inside.html in the run")
    max_megabytes: float = cli.option(10.0, "largest size of the file, in 10^6 bytes")

    def __post_init__(self) -> None:
        if not self.checkpoint:
            raise InputError("give --checkpoint=RUN, the workdir of a run of experiments.char_lm.")
        check_positive("--chars", self.chars, at_most=1_000_000)
        check_rate("--max_megabytes", self.max_megabytes)


def run(config: Config) -> dict[str, Any]:
    """Writes the page; returns its path and the numbers it shows."""
    start = time.monotonic()
    print("expected time: half a minute for 20,000 characters of 256 units")
    loaded = load(config.checkpoint)
    path = output_path(config, loaded)
    own = texts_of(loaded, config.data)
    text = choose_text(config.text, loaded, own, config.chars)
    ids = loaded.vocabulary.encode(text).ids
    reading = read(loaded.model, ids)
    bits = mean_bits(reading.log_probs, ids)
    print(f"{summary(loaded)}; {len(text):,} characters at {bits:.3f} bits each", flush=True)

    marks = properties(text)
    columns = columns_of(reading)
    ranking = rank_units(activations_of(reading), marks)
    errors = errors_of(reading, ids, text, loaded, own)
    first = first_shown(ranking, columns)
    data = page_data(loaded, reading, text, ids, marks, ranking, columns, errors)
    listed = [columns[s.unit] for ranked in in_order(ranking) for s in ranked.scores[:LISTED]]
    max_bytes = int(config.max_megabytes * 1e6)
    page, stored = build(data, reading.layers, marks, [first, *listed], max_bytes)
    if not stored:
        raise InputError(
            f"--max_megabytes={config.max_megabytes} is too little for this text: give more, or"
            " fewer --chars."
        )
    write_atomically(path, page)

    good = units_above(ranking, columns)
    print_report(ranking, columns, errors)
    total = sum(x.shape[1] for quantities in reading.layers for x in quantities.values())
    size, seconds = len(page.encode()) / 1e6, time.monotonic() - start
    print(f"{size:.1f} MB with {stored} of {total} series; {seconds:.0f} s: {path}")
    return {
        "path": path,
        "first": first,
        "ranking": ranking,
        "errors": errors,
        "bits_per_char": bits,
        "good": good,
    }


def output_path(config: Config, loaded: SavedLanguageModel) -> Path:
    """Where the page is written.

    Raises:
      InputError: if no file can be written there.
    """
    path = Path(config.output or loaded.directory / "look_inside.html").expanduser()
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"--output={path} must name a file in a directory that exists.")
    return path


def columns_of(reading: Reading) -> list[Series]:
    """Which unit each column of `activations_of` is."""
    return [
        Series(layer, name, unit)
        for layer, quantities in enumerate(reading.layers)
        for name in STATES
        if name in quantities
        for unit in range(quantities[name].shape[1])
    ]


def activations_of(reading: Reading) -> np.ndarray:
    """The states of all units of all layers side by side, `[T, U]`."""
    states = [
        quantities[name] for quantities in reading.layers for name in STATES if name in quantities
    ]
    return np.concatenate(states, axis=1)


def best_property(ranking: dict[str, Ranked]) -> str | None:
    """The property with the clearest unit; None if no property could be scored."""
    return max(ranking, key=lambda name: _standing(ranking[name]), default=None)


def first_shown(ranking: dict[str, Ranked], columns: list[Series]) -> Series:
    """The unit that the page shows first: the best one of the best property."""
    best = best_property(ranking)
    return columns[ranking[best].scores[0].unit] if best else Series(0, "h", 0)


def page_data(
    loaded: SavedLanguageModel,
    reading: Reading,
    text: str,
    ids: np.ndarray,
    marks: dict[str, Property],
    ranking: dict[str, Ranked],
    columns: list[Series],
    errors: Errors | None,
) -> dict[str, Any]:
    """Everything that the page shows except the series, as JSON values."""
    good = len(units_above(ranking, columns))
    verdict = f"{good or 'no'} unit{'s' if good != 1 else ''} above a held-out AUC of {GOOD}"
    bits = mean_bits(reading.log_probs, ids)
    return {
        "title": "{} × {} {}".format(*sizes_of(loaded)),
        "summary": f"{summary(loaded)}. {len(text):,} characters at {bits:.2f} bits each; {verdict}.",
        "text": text,
        "tokens": [t if n else "\ufffd" for n, t in enumerate(loaded.vocabulary.tokens)],
        "predictions": predictions(reading.log_probs, ids),
        "sizes": [quantities["h"].shape[1] for quantities in reading.layers],
        "quantities": [list(quantities) for quantities in reading.layers],
        "rules": {name: mark.rule for name, mark in marks.items()},
        "ranking": {name: ranked_data(ranked, columns) for name, ranked in ranking.items()},
        "property": best_property(ranking),
        "first": list(first_shown(ranking, columns)),
        "saturation": [
            {
                name: {"below": _rounded(below), "above": _rounded(above)}
                for name, (below, above) in gates.items()
            }
            for gates in reading.saturation
        ],
        "errors": errors and errors_data(errors),
    }


def ranked_data(ranked: Ranked, columns: list[Series]) -> dict[str, Any]:
    """The best units for a property, as the page reads them."""
    best = ranked.scores[:LISTED]
    return {
        "graded": ranked.graded,
        "chance": round(ranked.chance, 4),
        "units": [[*columns[s.unit], round(s.score, 6), s.sign] for s in best],
    }


def errors_data(errors: Errors) -> dict[str, Any]:
    """The breakdown of the errors beside the published one, as the page reads it."""
    return {
        "characters": errors.characters,
        "errors": errors.errors,
        "slices": [[name, count, PUBLISHED.get(name)] for name, count in errors.slices.items()],
    }


def errors_of(
    reading: Reading, ids: np.ndarray, text: str, loaded: SavedLanguageModel, own: TextSplits | None
) -> Errors | None:
    """The breakdown of the errors; None if the model's training text is not at hand."""
    if own is None:
        print("without the run's own --data: no breakdown of the errors")
        return None
    probability = np.ones(len(ids))
    probability[1:] = np.exp(reading.log_probs[np.arange(len(ids) - 1), ids[1:]])
    return break_down(probability, text, own.train, ids, loaded.vocabulary.encode(own.train).ids)


def units_above(ranking: dict[str, Ranked], columns: list[Series]) -> set[tuple[int, int]]:
    """`(layer, unit)` of the units that follow a yes-or-no property with an AUC above GOOD."""
    return {
        (columns[s.unit].layer, columns[s.unit].unit)
        for ranked in ranking.values()
        for s in ranked.scores
        if not ranked.graded and s.score > GOOD
    }


def in_order(ranking: dict[str, Ranked]) -> list[Ranked]:
    """The properties, those with the clearest units first."""
    return sorted(ranking.values(), key=_standing, reverse=True)


def _standing(ranked: Ranked) -> tuple[bool, bool, float]:
    """The key of the order: scores above chance are higher, then AUCs before correlations."""
    best = ranked.scores[0].score
    return best > ranked.chance, not ranked.graded, best


def summary(loaded: SavedLanguageModel) -> str:
    """The model and its training in one phrase."""
    count, hidden_size, cell = sizes_of(loaded)
    layers = "layer" if count == 1 else "layers"
    data = Path(source_of(loaded).data).name
    return f"{count} {layers} of {hidden_size} {cell} units, {loaded.step:,} updates on {data}"


def sizes_of(loaded: SavedLanguageModel) -> tuple[int, int, str]:
    """Layers, units in each, and the name of their cell."""
    layers = loaded.model.layers
    return len(layers), layers[0].cell.output_size, loaded.cell


def print_report(ranking: dict[str, Ranked], columns: list[Series], errors: Errors | None) -> None:
    """Prints the best units for every property, and the breakdown of the errors."""
    print_ranking(ranking, columns)
    good = len(units_above(ranking, columns))
    print(f"{good} units follow a yes-or-no property with a held-out AUC above {GOOD}")
    if errors:
        print_errors(errors)


def print_ranking(ranking: dict[str, Ranked], columns: list[Series]) -> None:
    print(f"{'property':21} {'score':16} {'chance':>6}  best units (held-out score)")
    for name, ranked in ranking.items():
        kind = "rank correlation" if ranked.graded else "AUC"
        best = []
        for s in ranked.scores[:3]:
            layer, quantity, unit = columns[s.unit]
            sign = "+" if s.sign > 0 else "-"
            best.append(f"{sign}{quantity}{unit} of layer {layer + 1} ({s.score:.3f})")
        print(f"{name:21} {kind:16} {ranked.chance:6.3f}  {', '.join(best)}")


def print_errors(errors: Errors) -> None:
    share = errors.errors / errors.characters
    print(
        f"errors (less than 1/2): {errors.errors} of {errors.characters}, {share:.0%}; published 42%"
    )
    for name, count in errors.slices.items():
        published = f"{PUBLISHED[name]:.0%}" if name in PUBLISHED else ""
        print(f"  {name:15} {count:6} {count / max(errors.errors, 1):5.0%}  published {published}")


def _rounded(x: np.ndarray) -> list[float]:
    return [round(float(v), 4) for v in x]
