r"""Questions about images: a recurrent network reads the question, a convolutional one the image.

Two encoders, joined, are to answer what neither knows alone. Questions about scenes of circles, squares and triangles are
balanced word for word: whoever does not see the image is right on 1/2 of yes and no, and on 1/4 of numbers and
colours, exactly.

    python -m experiments.vqa

trains a network that multiplies what it reads by what it sees (Antol et al., 2015), and one whose images are
exchanged at random, on 40,000 new questions in each epoch about 32 x 32 pixels; two of twelve pairs of colour and shape are in no
training image and no training question, and questions about them are reported by themselves.
--fusions=product,concat,step,blind compares. With the wheel that `pip download easy-vqa` gets,

    python -m experiments.vqa --data=PATH/easy_vqa --epochs=8

learns easy-VQA (Zhou, 2019), where the question alone gives 67 %.
"""

from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx

from experiments.common import cli, plots, tables
from experiments.common.epochs import Lesson, Network, train_networks
from experiments.common.images import as_floats, exchanged, make_ask
from experiments.common.intervals import half_width, interval
from experiments.common.labelling import Sets, make_cells, make_lesson
from experiments.common.study_run import StudyRun, open_study
from experiments.vqa.config import WAYS, Config
from experiments.vqa.questions import Asked, Questions, load_questions, new_questions
from seqjax.devices import use_cpu_devices
from seqjax.models import ImageEncoder, QuestionAnswerer
from seqjax.training.labelling import Labelled, label_losses
from seqjax.types import Array, Params

GUESSES = {
    "exists": 1 / 2,
    "count": 1 / 4,
    "colour": 1 / 4,
    "relation": 1 / 2,
}  # of who sees nothing


def run(config: Config) -> dict[str, Any]:
    """Trains every network from every seed, and compares; returns the numbers of results.json."""
    use_cpu_devices(config.devices)
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


def make_model(config: Config, way: str, questions: Questions, seed: int) -> QuestionAnswerer:
    """An untrained network."""
    rngs = nnx.Rngs(seed)
    rows, columns, channels = questions.train.images.shape[1:]
    encoder = ImageEncoder(channels, rngs=rngs)
    return QuestionAnswerer(
        len(questions.tokens),
        len(questions.answers),
        make_cells(config),
        features=encoder.grid(rows, columns),
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        fusion="product" if way == "blind" else way,
        encoder=encoder,
        dropout=config.dropout,
        rngs=rngs,
    )


def objective(
    model: QuestionAnswerer, inputs: dict[str, Array], lengths: Array, labels: Array, key: Array
) -> tuple[Array, dict[str, Array]]:
    """The loss of each question in nats, and whether its answer is right."""
    dropout_key = key if model.drop.rate else None
    images = as_floats(inputs["image"])
    logits = model(images, inputs["tokens"], lengths, dropout_key=dropout_key)
    return label_losses(logits, labels[:, 0]), {"accuracy": logits.argmax(-1) == labels[:, 0]}


def probabilities(model: QuestionAnswerer, inputs: dict[str, Array]) -> Array:
    """Of each answer `[B, C]`."""
    images = as_floats(inputs["image"])
    return jax.nn.softmax(model(images, inputs["tokens"], inputs["lengths"]))


def network(config: Config, questions: Questions, way: str, seed: int) -> Network:
    """One network of the run: how it is trained, and what is said of it."""
    model = make_model(config, way, questions, seed)
    ask = make_ask(model, probabilities)

    def seen(split: Asked) -> Labelled:
        return exchanged(split.examples, seed) if way == "blind" else split.examples

    def right(params: Params, split: Asked) -> np.ndarray:
        examples = seen(split)
        inputs = {**examples.inputs, "lengths": examples.lengths}
        return ask(params, inputs).argmax(1) == examples.labels

    def row(params: Params) -> dict[str, Any]:
        found = {"test": accuracies(right(params, questions.test), questions.test)}
        if questions.unseen is not None:
            found["unseen"] = accuracies(right(params, questions.unseen), questions.unseen)
        return found

    def evaluate(params: Params) -> dict[str, float]:
        return {"accuracy": float(right(params, questions.validation).mean())}

    splits = [seen(split) for split in (questions.train, questions.validation, questions.test)]
    longest = splits[0].inputs["tokens"].shape[1]
    sets = Sets(splits[0], splits[1], splits[2], (longest,))
    how: dict[str, Any] = {"seed": seed, "whole": ("image",)}
    if questions.unseen is not None:

        def train_of(epoch: int) -> Labelled:
            examples = new_questions(config, questions.tokens, epoch)
            return exchanged(examples, seed + epoch) if way == "blind" else examples

        how["train_of"] = train_of
    lesson: Lesson = make_lesson(config, model, objective, sets, evaluate, **how)
    return Network(lesson, questions.identity() | {"way": way}, row)


def accuracies(right: np.ndarray, split: Asked) -> dict[str, float]:
    """The share of right answers, of all questions and of each kind."""
    found = {"all": float(right.mean())}
    kinds = np.array(split.kinds)
    for kind in dict.fromkeys(split.kinds):
        found[kind] = float(right[kinds == kind].mean())
    return found


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
    results = {"networks": rows, "by_words": by_words}
    study.finish(results, tables.table(["share of right answers", *kinds], lines))
    return results


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
