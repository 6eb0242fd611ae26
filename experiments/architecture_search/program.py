"""A search for better cells: graphs are changed at random, and what beats the GRU is changed again.

Source: Jozefowicz, Zaremba and Sutskever (2015), who tried ten thousand cells, those that could recall,
a thousand, at some 220 settings each, and found MUT1, MUT2 and MUT3, a little better than the GRU, and
nothing far better.

    python -m experiments.architecture_search

takes about 15 minutes on 2 CPU cores: 45 seconds a step, measured beside other work. Each step draws
one cell of the list of the 100 best, which begins as the GRU and the LSTM. In a quarter of the steps
that cell is tried at new settings. In the others it is changed at random (mutations.py), and its child
has to pass tests: it must recall 95% of a string of five letters; it must reach 90% of the GRU's
accuracy on the first task; then it is tried on the other tasks, and enters the list, ranked by the
smallest of its accuracies as shares of the GRU's. Settings are drawn from the paper's grid, but for
one, which is its parent's best.

Every step is a line of candidates.jsonl: the cell as a graph, its parent, all settings and accuracies.
A step is a function of the seed, its number and the lines before it, so that a killed search goes on
with `--resume --workdir=...`, also with more --steps; a damaged line is named, left out and computed
again. An evaluation is a function of one JSON record: `--evaluate=RECORD.json` makes one and prints its
result, and each search writes an example, record.json. With `--engine=local --at_once=8` eight steps are made at
once, all from what was known before them, on as many cores as there are; two of them may then try the same cell.

Unlike the paper: 4 settings a task instead of 20, one layer, 20,000 parameters instead of 250,000 and a
million, sums and tags only (`--tasks=arithmetic,xml,words --parameters=1000000` adds words), numbers of
at most 4 digits, at most 5,000 updates; 90% is required on the first task only, and a cell that has
failed is not tried again. Cells are ranked by validation accuracy; the table has the test accuracy.
"""

import json
from pathlib import Path
from typing import Any

from experiments.architecture_search.candidates import SEEDS
from experiments.architecture_search.config import NAME, Config
from experiments.architecture_search.report import report
from experiments.architecture_search.search import search
from experiments.architecture_search.steps import job_of
from experiments.architectures.jobs import Job, Setting, job_from_json, job_to_json
from experiments.architectures.tasks import RECALL
from experiments.architectures.training import evaluate, prepare
from experiments.common.study_run import open_study
from seqjax.cells.graphs import GRAPHS
from seqjax.devices.mesh import use_cpu_devices
from seqjax.files.json import read_json, write_json

VERSION = 1  # of the format of the records in candidates.jsonl


def evaluate_one(config: Config) -> dict[str, Any]:
    """Prints the result of the job in a file."""
    job = job_from_json(read_json(Path(config.evaluate).expanduser()))
    result = evaluate(job, config.devices)
    print(json.dumps(result))
    return result


def first_jobs(config: Config) -> list[Job]:
    """An example of every job that a search makes of a known cell."""
    return [
        job_of(config, GRAPHS[name], task, [Setting(1.0, 1.0, 5.0)])
        for task in (*config.task_names(), RECALL)
        for name in SEEDS
    ]


def run(config: Config) -> dict[str, Any]:
    """Searches; writes candidates.jsonl, results.json, table.txt and figures."""
    use_cpu_devices(config.devices)
    if config.evaluate:
        return evaluate_one(config)
    jobs = first_jobs(config)
    for job in jobs:  # refuses impossible jobs before the directory is made
        prepare(job)
    expect = f"{config.steps} steps; about 15 minutes for 20 on 2 CPU cores"
    with open_study(NAME, config, expect=expect, version=VERSION) as study:
        write_json(study.workdir / "record.json", job_to_json(jobs[0]))
        records = search(config, study.workdir)
        text, results = report(study.workdir, records)
        study.finish(results, text)
    return results
