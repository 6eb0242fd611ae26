r"""A label for every frame of a film: what one frame tells, a window, and all that came before.

Claim: a recurrent network knows what no single frame shows. In which direction a dot came is not to be seen
in a frame (25 %, exactly); how many walls it has hit, modulo 3, in no window either.

    python -m experiments.frames

trains a network of one frame and an LSTM on both, with exact ceilings beside. --sights=frame,window,forward,both
compares four; --pixels=convolution reads each frame by a small convolutional network (Donahue et al., 2015).
With the folder of Gesture Phase Segmentation (Madeo, Wagner and Peres, 2013),

    python -m experiments.frames --data=PATH/gesture_phase --sights=frame,window,forward,both --length=120 \
        --epochs=30 --dropout=0.3

leaves one film out at a time and reports macro F1 and accuracy over the seven films.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from sklearn.metrics import f1_score

from experiments.common import cli, plots, tables
from experiments.common.devices import with_devices
from experiments.common.epochs import Network, train_networks
from experiments.common.intervals import half_width, interval
from experiments.common.labelling import make_cells, make_lesson, make_predict
from experiments.common.study_run import StudyRun, open_study
from experiments.frames.config import SIGHTS, Config
from experiments.frames.films import Filmed, load_films, new_films
from seqjax.models import FrameLabeller, ImageEncoder
from seqjax.tasks.motion import HAZARD
from seqjax.training.labelling import Labelled, label_losses
from seqjax.types import Array, Params

Networks = dict[str, tuple[Filmed, str, int]]  # by name: its films, what it sees, its seed


def run(config: Config) -> dict[str, Any]:
    """Trains every network from every seed, and compares; returns the numbers of results.json."""
    config = with_devices(config)
    networks: Networks = {
        f"{filmed.name}, {sight}, seed {seed}": (filmed, sight, seed)
        for filmed in load_films(config)
        for sight in cli.chosen("--sights", config.sights, SIGHTS)
        for seed in range(config.seed, config.seed + config.seeds)
    }
    with open_study("frames", config, expect=f"{len(networks)} networks") as study:
        makers = {name: partial(network, config, *who) for name, who in networks.items()}
        rows = train_networks(study, makers)
        return finish(study, networks, rows)


def make_model(config: Config, filmed: Filmed, sight: str, seed: int) -> FrameLabeller:
    """An untrained network."""
    rngs, frame = nnx.Rngs(seed), filmed.frame()
    encoder = ImageEncoder(frame[2], (8, 16), rngs=rngs) if config.pixels == "convolution" else None
    return FrameLabeller(
        len(filmed.labels),
        make_cells(config) if sight in ("forward", "both") else [],
        frame=frame,
        hidden_size=config.hidden_size,
        window=config.window if sight == "window" else 1,
        bidirectional=sight == "both",
        encoder=encoder,
        connections=config.connections,
        dropout=config.dropout,
        rngs=rngs,
    )


def objective(
    model: FrameLabeller, frames: Array, lengths: Array, labels: Array, key: Array
) -> tuple[Array, dict[str, Array]]:
    """The mean loss of the frames of each film, in nats, and the share of right labels."""
    logits = model(frames, lengths, dropout_key=key if model.drop.rate else None)
    live = jnp.arange(labels.shape[1]) < lengths[:, None]
    count = jnp.maximum(lengths, 1)
    losses = jnp.where(live, label_losses(logits, labels), 0).sum(1) / count
    right = ((logits.argmax(-1) == labels) & live).sum(1) / count
    return losses, {"accuracy": right}


def network(config: Config, filmed: Filmed, sight: str, seed: int) -> Network:
    """One network of the run: how it is trained, and what is said of it."""
    model = make_model(config, filmed, sight, seed)
    given = make_predict(
        model,
        lambda m, frames, lengths: m(frames, lengths).argmax(-1),
        (),
        by_step=True,
        batch_size=8,
    )

    def scores(params: Params, films: Labelled) -> dict[str, float]:
        live = np.arange(films.labels.shape[1]) < films.lengths[:, None]
        truth, labels = films.labels[live], given(params, films)[live]
        return {
            "macro_f1": float(f1_score(truth, labels, average="macro", zero_division=0)),
            "accuracy": float(np.mean(truth == labels)),
        }

    def evaluate(params: Params) -> dict[str, float]:
        return scores(params, filmed.sets.validation)

    def row(params: Params) -> dict[str, Any]:
        return scores(params, filmed.sets.test)

    fresh = partial(new_films, config, filmed.name) if config.tasks() else None
    how: dict[str, Any] = {"seed": seed, "train_of": fresh}
    lesson = make_lesson(config, model, objective, filmed.sets, evaluate, **how)
    return Network(lesson, {"films": filmed.digest(), "sight": sight}, row)


def ceiling(filmed: Filmed, sight: str, window: int) -> float:
    """The share of right labels that cannot be passed; NaN where it is not known."""
    length = filmed.sets.test.labels.shape[1]
    if filmed.name == "dots":
        if sight == "frame" or (sight == "window" and window == 1):
            return 0.25
        # Who sees the second frame too takes its direction for that of the first, seldom wrongly.
        first = 1 - HAZARD if sight == "both" and length > 1 else 0.25
        return (length - 1 + first) / length
    return 1.0 if filmed.name == "bounces" and sight in ("forward", "both") else float("nan")


def most_frequent(filmed: Filmed) -> float:
    """The share of the most frequent label of training among the frames of the test."""
    train, test = filmed.sets.train, filmed.sets.test

    def live(films: Labelled) -> np.ndarray:
        inside = np.arange(films.labels.shape[1]) < np.asarray(films.lengths)[:, None]
        return np.asarray(films.labels)[inside]

    return float(np.mean(live(test) == np.bincount(live(train)).argmax()))


def finish(study: StudyRun, networks: Networks, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Draws, prints and writes what was found.

    The sample of an interval is the networks of a task; of a folder it is the films, each the mean over its seeds.
    """
    tasks = bool(study.config.tasks())
    by_film: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    ceilings: dict[tuple[str, str], float] = {}
    floors: dict[str, list[float]] = {}
    for name, row in rows.items():
        filmed, sight, _ = networks[name]
        key = (filmed.name if tasks else "gestures", sight)
        by_film.setdefault(key, {}).setdefault(name if tasks else filmed.name, []).append(row)
        ceilings[key] = ceiling(filmed, sight, study.config.window)
        floors.setdefault(key[0], []).append(most_frequent(filmed))
    grouped = {
        key: [
            {name: float(np.mean([row[name] for row in rows])) for name in ("accuracy", "macro_f1")}
            for rows in films.values()
        ]
        for key, films in by_film.items()
    }
    lines = []
    for key, found in grouped.items():
        top = ceilings[key]
        values = [np.array([row[name] for row in found]) for name in ("accuracy", "macro_f1")]
        shown = "" if np.isnan(top) else f"{top:.3f}"
        lines.append(
            [
                ", ".join(key),
                *map(interval, values),
                shown,
                str(sum(map(len, by_film[key].values()))),
            ]
        )
    for name, values_of in floors.items():
        lines.append([f"{name}, most frequent label", f"{np.mean(values_of):.3f}", "", "", ""])
    head = ["frames of the test", "accuracy", "macro F1", "ceiling", "networks"]
    figure(study, grouped, ceilings)
    results = {"networks": rows, "most_frequent": {n: float(np.mean(v)) for n, v in floors.items()}}
    study.finish(results, tables.table(head, lines))
    return results


def figure(
    study: StudyRun,
    grouped: dict[tuple[str, str], list[dict[str, Any]]],
    ceilings: dict[tuple[str, str], float],
) -> None:
    """The accuracy of each network, with its ceiling where that is known."""
    with plots.panels(study.workdir / "frames.png") as (axes,):
        for place, (key, found) in enumerate(grouped.items()):
            values = np.array([row["accuracy"] for row in found])
            half = half_width(values)
            error = None if np.isnan(half) else [[half], [half]]
            colour = plots.COLOURS[place % len(plots.COLOURS)]
            axes.errorbar(values.mean(), -place, xerr=error, fmt="o", color=colour, capsize=3)
            axes.plot(ceilings[key], -place, "|", color="0.3", ms=16)
        axes.set_yticks([-i for i in range(len(grouped))], [", ".join(key) for key in grouped])
        axes.set_xlim(0, 1.03)
        title = "labels of frames (bars: what cannot be passed)"
        plots.label(axes, xlabel="share of right labels", ylabel="", title=title)
