r"""Questions about images: a recurrent network reads the question, a convolutional one the image.

Two encoders, joined, are to answer what neither knows alone. Questions about scenes of circles, squares and triangles are
balanced word for word: whoever does not see the image is right on 1/2 of yes and no, on 1/4 of numbers and on
11/36 of colours, exactly.

    python -m experiments.vqa

trains a network that multiplies what it reads by what it sees (Antol et al., 2015), and one whose images are
exchanged at random, on 20,000 new questions in each epoch about 32 x 32 pixels; two of twelve pairs of colour and shape are in no
training image and no training question, and questions about them are reported by themselves.
--fusions=product,concat,step,blind compares. With the wheel that `pip download easy-vqa` gets,

    python -m experiments.vqa --data=PATH/easy_vqa --epochs=2

learns easy-VQA (Zhou, 2019), to 98.7 %; the question alone gives 67 %. Each run writes gallery.html: test questions, and a box
in which one asks the network, which is computed in the page.
"""

from functools import partial
from typing import Any

import numpy as np

from experiments.common import cli, plots, tables
from experiments.common.devices import with_devices
from experiments.common.epochs import Network, best_params, train_networks
from experiments.common.intervals import half_width, interval
from experiments.common.study_run import StudyRun, open_study
from experiments.vqa.config import WAYS, Config
from experiments.vqa.gallery import gallery
from experiments.vqa.network import accuracies, make_model, make_trainee
from experiments.vqa.questions import UNSEEN, Questions, load_questions
from seqjax.files.writing import write_atomically
from seqjax.tasks.scenes import forms
from seqjax.training.modules import merge_model, split_model
from seqjax.types import Params

# Of who sees nothing, exactly: answers are drawn after the words. Two shapes are never of one of the four colours.
GUESSES = {
    kind: float(np.mean([1 / len(form.answers) for form in found]))
    for kind, found in forms(UNSEEN).items()
}


def run(config: Config) -> dict[str, Any]:
    """Trains every network from every seed, and compares; returns the numbers of results.json."""
    config = with_devices(config)
    questions = load_questions(config)
    networks = {
        f"{way}, seed {seed}": (way, seed)
        for way in cli.chosen("--fusions", config.fusions, WAYS)
        for seed in range(config.seed, config.seed + config.seeds)
    }
    sizes = "/".join(f"{len(split.words):,}" for split in questions[3:6])
    expect = f"{questions.name}: {sizes} questions, {len(questions.answers)} answers"
    with open_study("vqa", config, expect=f"{expect}; {len(networks)} networks") as study:
        makers = {name: partial(network, config, questions, *who) for name, who in networks.items()}
        rows = train_networks(study, makers)
        return finish(study, questions, networks, rows)


def network(config: Config, questions: Questions, way: str, seed: int) -> Network:
    """One network of the run: how it is trained, and what is said of it."""
    trainee = make_trainee(config, questions, way, seed)

    def row(params: Params) -> dict[str, Any]:
        splits = {"test": questions.test, "unseen": questions.unseen}
        return {
            name: accuracies(trainee.shares(params, split), split)
            for name, split in splits.items()
            if split is not None
        }

    return Network(trainee.lesson, questions.identity() | {"way": way}, row)


def finish(
    study: StudyRun,
    questions: Questions,
    networks: dict[str, tuple[str, int]],
    rows: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Draws, prints and writes what was found."""
    by_way: dict[str, list[dict[str, Any]]] = {}
    for name, row in rows.items():
        by_way.setdefault(networks[name][0], []).append(row)
    kinds = list(dict.fromkeys(["all", *questions.test.kinds]))
    lines = []
    for split in ("test", "unseen"):
        for way, found in by_way.items():
            if split in found[0]:
                values = [
                    np.array([row[split].get(kind, np.nan) for row in found]) for kind in kinds
                ]
                shown = ["" if np.isnan(v).any() else interval(v) for v in values]
                lines.append([f"{way}{', pairs never seen' if split == 'unseen' else ''}", *shown])
    by_words = questions.by_words()
    lines.append(["most frequent answer to the words", f"{by_words:.3f}", *[""] * (len(kinds) - 1)])
    if questions.unseen is not None:
        ceilings = [f"{GUESSES[kind]:.3f}" for kind in kinds[1:]]
        lines.append(
            ["ceiling of who sees nothing", f"{np.mean(list(GUESSES.values())):.3f}", *ceilings]
        )
    figure(study, by_way, kinds, questions)
    write_gallery(study, questions, networks, rows)
    results = {"networks": rows, "by_words": by_words}
    study.finish(results, tables.table(["share of right answers", *kinds], lines))
    return results


def write_gallery(
    study: StudyRun,
    questions: Questions,
    networks: dict[str, tuple[str, int]],
    rows: dict[str, dict[str, Any]],
) -> None:
    """Writes gallery.html: test questions, and a box in which one asks the best network that sees."""
    seeing = [name for name in rows if networks[name][0] != "blind"]
    if not seeing:
        return
    name = max(seeing, key=lambda n: rows[n]["test"]["all"])
    way, seed = networks[name]
    trainee = make_trainee(study.config, questions, way, seed)
    params = best_params(study.workdir, name, trainee.lesson.state.params)
    model = merge_model(split_model(make_model(study.config, way, questions, seed)), params)
    shares = trainee.shares(params, questions.test)
    about = f"{questions.name}: question and image are joined by “{way}”."
    text = gallery(study.config, questions, model, shares, about=about)
    write_atomically(study.workdir / "gallery.html", text)


def figure(
    study: StudyRun, by_way: dict[str, list[dict[str, Any]]], kinds: list[str], questions: Questions
) -> None:
    """The share of right answers of each kind, beside the ceiling of who sees nothing."""
    with plots.panels(study.workdir / "answers.png") as (axes,):
        for number, (way, found) in enumerate(by_way.items()):
            values = np.array([[row["test"][kind] for kind in kinds] for row in found])
            halves = [half_width(column) for column in values.T]
            error = None if np.isnan(halves[0]) else halves
            x = np.arange(len(kinds)) + 0.12 * number
            colour = plots.COLOURS[number % len(plots.COLOURS)]
            axes.errorbar(
                x, values.mean(0), yerr=error, fmt="o", color=colour, label=way, capsize=3
            )
        if questions.unseen is not None:
            for place, kind in enumerate(kinds[1:], 1):
                axes.hlines(GUESSES[kind], place - 0.3, place + 0.5, color="0.4", linestyle="--")
        axes.set_xticks(range(len(kinds)), kinds)
        axes.set_ylim(0, 1.03)
        axes.legend(frameon=False)
        title = f"{questions.name} (dashed: who sees nothing)"
        plots.label(axes, xlabel="", ylabel="share of right answers", title=title)
