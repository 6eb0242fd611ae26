r"""Captions: an image in, a sentence out, a word at a time.

Claim: a recurrent network that is shown an image says more of it that is true than one that is not. On scenes of
circles, squares and triangles the probability of every caption is known: so the entropy that no captioner can
pass, and that of captions of scenes that are not seen, stand beside both.

    python -m experiments.caption

trains both on 10,000 new scenes of 32 x 32 pixels in each epoch, four captions each, with a small convolutional network. The image
enters as the lectures have it, h = tanh(W_xh x + W_hh h + W_ih v) at every step; --entries=step,first,state,attention compares four ways
(Mao et al., 2015; Vinyals et al., 2015; Karpathy and Fei-Fei, 2015; Xu et al., 2015). With a folder of captions
and one of features of the images, as of Flickr8k,

    python -m experiments.caption --data=PATH/flickr8k_captions --features=PATH/flickr8k_images \
        --hidden_size=256 --embedding_size=256 --dropout=0.4 --learning_rate=1.5e-3 --epochs=6 --batch_size=64 \
        --entries=step,first,state,attention,blind

it learns real captions, and reports BLEU by sacreBLEU with five references, beside floors and published numbers.
"""

from functools import partial
from typing import Any

import numpy as np

from experiments.caption import report
from experiments.caption.config import WAYS, Config
from experiments.caption.floors import floors
from experiments.caption.gallery import gallery, read_pictures
from experiments.caption.images import Images, load_images
from experiments.caption.network import make_trainee
from experiments.caption.scores import scores_of, truth
from experiments.common import cli
from experiments.common.devices import with_devices
from experiments.common.epochs import Network, best_params, train_networks
from experiments.common.study_run import StudyRun, open_study
from seqjax.files.writing import write_atomically
from seqjax.types import Params

Networks = dict[str, tuple[Images, str, int]]  # by name: what it sees, how, and its seed
SHOWN = 10


def run(config: Config) -> dict[str, Any]:
    """Trains every network from every seed, and compares; returns the numbers of results.json."""
    config = with_devices(config)
    ways = cli.chosen("--entries", config.entries, WAYS)
    seen: dict[bool, Images] = {}
    for way in ways:
        grid = way == "attention" and config.data != "scenes"
        if grid not in seen:
            seen[grid] = load_images(config, grid=grid)
    networks: Networks = {
        f"{way}, seed {seed}": (seen[way == "attention" and True in seen], way, seed)
        for way in ways
        for seed in range(config.seed, config.seed + config.seeds)
    }
    some = next(iter(seen.values()))
    sizes = "/".join(f"{len(split.images):,}" for split in some[2:])
    expect = f"{some.name}: {sizes} images, {len(some.words):,} words; {len(networks)} networks"
    with open_study("caption", config, expect=expect) as study:
        makers = {name: partial(network, config, *who) for name, who in networks.items()}
        rows = train_networks(study, makers)
        return finish(study, some, networks, rows)


def network(config: Config, images: Images, way: str, seed: int) -> Network:
    """One captioner of the run: how it is trained, and what is said of it."""
    trainee = make_trainee(config, way, images, seed)

    def row(params: Params) -> dict[str, Any]:
        test = images.test
        shown = test.images
        if way == "blind":  # it is asked as it was trained: about another image
            shown = shown[np.random.default_rng(seed).permutation(len(shown))]
        given = {
            "greedy": trainee.write(params, shown),
            "beam": trainee.write(params, shown, width=config.beam),
        }
        if test.scenes:
            given["sampled"] = trainee.write(params, shown, sample=True)
        said = {name: [images.decode(r) for r in rows] for name, rows in given.items()}
        found: dict[str, Any] = {"nats": float(trainee.nats(params, test).mean())}
        for name, captions in said.items():
            found[name] = (
                {"true": truth(test.scenes, captions)}
                if test.scenes
                else scores_of(test.captions, captions)
            )
        pairs = zip(said["beam"][:SHOWN], test.captions[:SHOWN], strict=True)
        return found | {"examples": [[caption, others[0]] for caption, others in pairs]}

    return Network(trainee.lesson, images.identity() | {"way": way}, row)


def finish(
    study: StudyRun, images: Images, networks: Networks, rows: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Draws, prints and writes what was found."""
    by_way: dict[str, list[dict[str, Any]]] = {}
    for name, row in rows.items():
        by_way.setdefault(networks[name][1], []).append(row)
    levels = floors(images)
    results = {"networks": rows, "floors": levels, "published": report.published_for(images)}
    shown = report.examples(rows)
    print(shown)
    write_atomically(study.workdir / "examples.txt", shown + "\n")
    report.figure(study.workdir / "captions.png", by_way, results, images)
    write_gallery(study, networks, rows)
    study.finish(results, report.table(by_way, results, images))
    return results


def write_gallery(study: StudyRun, networks: Networks, rows: dict[str, dict[str, Any]]) -> None:
    """Writes gallery.html: what the best network that sees says of test images."""
    seeing = [name for name in rows if networks[name][1] != "blind"]
    if not seeing:
        return
    name = min(seeing, key=lambda n: rows[n]["nats"])
    images, way, seed = networks[name]
    trainee = make_trainee(study.config, way, images, seed)
    params = best_params(study.workdir, name, trainee.lesson.state.params)
    tokens = trainee.write(params, images.test.images, width=study.config.beam)
    found = trainee.explain(params, {"image": images.test.images, "tokens": tokens})
    captions = [images.decode(row) for row in tokens]
    features = study.config.features
    text = gallery(
        images,
        captions,
        found["log_probs"],
        about=f"{images.name}: the image enters by “{way}”; beam of {study.config.beam}.",
        pictures=read_pictures(features) if features else {},
        names=images.test.names,
        maps=found.get("maps"),
    )
    write_atomically(study.workdir / "gallery.html", text)


def main(config: Config) -> None:
    run(config)
