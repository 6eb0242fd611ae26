r"""Translation by encoder and decoder: attention beside one vector, beam search, BLEU.

Claim: a network that must put its whole source into one vector gets worse with the source's length; one
that may look back at every place of it does not (Cho et al., 2014; Bahdanau et al., 2015).

    python -m experiments.translate

trains both to write dates as 1999-03-12 and to copy strings of up to 20 letters, in 203
seconds of the processor, and draws the share of exact answers against the length of the source, and what attention read.
With a folder of parallel text, which has train.de and train.en, say, and the same for val and test,

    python -m experiments.translate --data=PATH/multi30k --source=de --target=en --vocab_size=5000 \
        --hidden_size=256 --embedding_size=256 --dropout=0.4 --label_smoothing=0.1 --learning_rate=2e-3 \
        --batch_size=64 --epochs=10 --attention=additive

it learns to translate, and reports BLEU by sacreBLEU, greedy and by beam search, beside published numbers.

    python -m experiments.translate --checkpoint=RUN --translate="ein hund läuft durch den schnee."
    python -m experiments.translate --checkpoint=RUN --stdin
    python -m experiments.translate --checkpoint=RUN --data=PATH/multi30k --curve=1,2,5,10,20,50

translate by a saved network, and draw BLEU against the width of the beam.
"""

from functools import partial
from typing import Any

import numpy as np

from experiments.common.devices import with_devices
from experiments.common.epochs import Network, best_params, train_networks
from experiments.common.study_run import StudyRun, open_study
from experiments.translate import report
from experiments.translate.config import Config
from experiments.translate.curve import draw_curve
from experiments.translate.decoding import make_translate, make_weights, texts_of
from experiments.translate.network import Kind, kinds, make_trainee
from experiments.translate.saved import translate_line, translate_lines
from experiments.translate.scores import by_length, scores_of, signature
from experiments.translate.text import Text, load_texts
from seqjax.data.tokens import END, PAD, START, encode
from seqjax.files.writing import write_atomically
from seqjax.types import Params

Networks = dict[str, tuple[Text, Kind, int]]  # by name: what it learns, its kind, its seed


def run(config: Config) -> dict[str, Any]:
    """Trains every network from every seed, and compares; returns the numbers of results.json."""
    config = with_devices(config)
    networks: Networks = {
        f"{text.name}, {kind.name()}, seed {seed}": (text, kind, seed)
        for text in load_texts(config)
        for kind in kinds(config)
        for seed in range(config.seed, config.seed + config.seeds)
    }
    texts = {text.name: text for text, _, _ in networks.values()}
    expect = "; ".join(text.summary() for text in texts.values())
    with open_study("translate", config, expect=f"{expect}; {len(networks)} networks") as study:
        makers = {name: partial(network, config, *who) for name, who in networks.items()}
        rows = train_networks(study, makers)
        return finish(study, networks, rows)


def network(config: Config, text: Text, kind: Kind, seed: int) -> Network:
    """One network of the run: how it is trained, and what is said of it."""
    trainee = make_trainee(config, kind, text, seed)
    pairs, wanted = text.splits.test, [pair.target for pair in text.splits.test]
    lengths = (np.asarray(text.sets.test.inputs["source"]) != PAD).sum(1)

    def row(params: Params) -> dict[str, Any]:
        how: dict[str, Any] = {"length_penalty": config.length_penalty, "alpha": config.alpha}
        length = config.max_length
        ways = {"greedy": trainee.translate}
        if not text.exact:  # where greedy decoding is right, there is nothing to search for
            tops = text.sets.tops
            ways["beam"] = make_translate(
                trainee.model, tops, width=config.beam, length=length, **how
            )
        found = {}
        for name, way in ways.items():
            given = texts_of(text.target, way(params, text.sets.test))
            scores = scores_of(wanted, given, exact=text.exact)
            lines = by_length(lengths, wanted, given, exact=text.exact)
            found[name] = scores | {"by_length": lines}
        shown = zip(pairs[:5], given[:5], strict=True)
        return found | {"examples": [[*pair, translation] for pair, translation in shown]}

    return Network(trainee.lesson, text.identity() | {"kind": kind._asdict()}, row)


def finish(study: StudyRun, networks: Networks, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Draws, prints and writes what was found."""
    grouped: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, row in rows.items():
        text, kind, _ = networks[name]
        grouped.setdefault(text.name, {}).setdefault(kind.name(), []).append(row)
    pictures = {}
    for name, (text, kind, seed) in networks.items():
        if kind.attention not in ("none", "context") and text.name not in pictures:
            trainee = make_trainee(study.config, kind, text, seed)
            params = best_params(study.workdir, name, trainee.lesson.state.params)
            pictures[text.name] = read_by(study.config, trainee, text, params)
    report.figure(study.workdir / "length.png", grouped, pictures)
    shown = report.examples(rows)
    print(shown)
    write_atomically(study.workdir / "examples.txt", shown + "\n")
    published = report.published_for([text for text, _, _ in networks.values()])
    results = {"networks": rows, "published": published, "signature": signature()}
    study.finish(results, report.table(grouped, study.config, published))
    return results


def read_by(config: Config, trainee: Any, text: Text, params: Params) -> report.Picture:
    """What attention read as it wrote the translation of a test sentence of middle length."""
    test, pairs = text.sets.test, text.splits.test
    lengths = np.array([len(pair.source) for pair in pairs])
    place = int(np.argsort(lengths, kind="stable")[len(lengths) * 2 // 3])
    one = type(test)(
        {name: array[place : place + 1] for name, array in test.inputs.items()},
        test.lengths[place : place + 1],
        test.labels[place : place + 1],
    )
    written = trainee.translate(params, one)[0].tolist()
    written = written[: written.index(END)] if END in written else written
    (source,) = encode(text.source, [pairs[place].source])
    source = source[: config.max_length]
    weights = make_weights(trainee.model)(params, source, np.array([START, *written], np.int32))
    rows = [str(text.target.id_to_token(i)) for i in [*written, END]]
    columns = [str(text.source.id_to_token(i)) for i in source.tolist()]
    return report.Picture(np.asarray(weights), rows, columns)


def main(config: Config) -> None:
    if config.translate:
        translate_line(config)
    elif config.stdin:
        translate_lines(config)
    elif config.curve:
        draw_curve(config)
    else:
        run(config)
