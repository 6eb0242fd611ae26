"""BLEU of a saved network against the width of its beam, with and without a length penalty."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import plots, tables
from experiments.translate.config import Config
from experiments.translate.decoding import make_translate, texts_of
from experiments.translate.saved import load_translator
from experiments.translate.scores import scores_of
from experiments.translate.text import as_arrays
from seqjax.data.sets.parallel import load_parallel
from seqjax.data.tokens import PAD, encode
from seqjax.errors import InputError
from seqjax.files.json import write_json
from seqjax.files.writing import write_atomically
from seqjax.training.modules import split_model

PENALTIES = ("none", "average", "wu")


def draw_curve(config: Config) -> list[dict[str, Any]]:
    """Prints and draws BLEU and the length of what is written, at each width of --curve.

    The files curve.json, curve.txt and curve.png are written to --workdir, or else beside the network.
    """
    workdir = Path(config.workdir or config.checkpoint).expanduser()
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir={workdir} is no folder.")
    translator = load_translator(config.checkpoint)
    if translator.exact:
        raise InputError("--curve needs a network that was trained on a folder of parallel text.")
    folder, names = translator.config.data, (translator.config.source, translator.config.target)
    test = load_parallel(
        folder if config.tasks() else config.data, *names, test=translator.config.test
    ).test
    wanted = [pair.target for pair in test]
    longest = translator.config.max_length
    sides = encode(translator.source, [p.source for p in test]), encode(translator.target, wanted)
    examples = as_arrays(*sides, longest=longest)
    lengths = (np.asarray(examples.inputs["source"]) != PAD).sum(1)
    tops = sorted({int(np.quantile(lengths, 0.5)), int(lengths.max())})
    params = split_model(translator.model).params
    rows = []
    for penalty in PENALTIES:
        for width in config.beams():
            how: dict[str, Any] = {"width": width, "length": longest, "alpha": config.alpha}
            how["length_penalty"] = penalty
            tokens = make_translate(translator.model, tops, **how)(params, examples)
            given = texts_of(translator.target, tokens)
            ratio = sum(len(t.split()) for t in given) / sum(len(t.split()) for t in wanted)
            scores = scores_of(wanted, given, exact=False)
            rows.append({"penalty": penalty, "width": width, "length_ratio": ratio, **scores})
            print(f"{penalty}, width {width}: {scores['bleu']:.2f} BLEU", flush=True)
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "curve.json", rows)
    head = ["penalty", "width", "BLEU", "chrF", "length / reference's"]
    numbers = ("bleu", "chrf", "length_ratio")
    lines: list[list[str]] = [
        [str(r["penalty"]), str(r["width"]), *(f"{r[n]:.2f}" for n in numbers)] for r in rows
    ]
    table = tables.table(head, lines)  # table.txt is that of the training
    print(table)
    write_atomically(workdir / "curve.txt", table + "\n")
    with plots.panels(workdir / "curve.png", 2) as axes:
        for panel, name, ylabel in zip(
            axes, ("bleu", "length_ratio"), ("BLEU", "length / that of the reference"), strict=True
        ):
            for number, penalty in enumerate(PENALTIES):
                inside = [r for r in rows if r["penalty"] == penalty]
                x, y = [r["width"] for r in inside], [r[name] for r in inside]
                style = plots.LINES[number]
                panel.plot(
                    x, y, style, color=plots.COLOURS[number], marker="o", ms=3, label=penalty
                )
            panel.set_xscale("log")
            panel.legend(frameon=False, title="length penalty")
            plots.label(panel, xlabel="width of the beam", ylabel=ylabel, title="")
    return rows
