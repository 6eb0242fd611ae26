"""How a network that labels is trained: by epochs, the best by a score on held-out examples kept."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.common.study_run import StudyRun
from seqjax.devices.processes import told
from seqjax.runs.ledger import Ledger
from seqjax.runs.session import Session
from seqjax.runs.shared_checkpoints import checkpoints
from seqjax.runs.stopping import Stopped
from seqjax.runs.workdir import identity_of
from seqjax.training.fit import MOST_IN_A_ROW, fit
from seqjax.training.step import Metrics, TrainState, check_applied
from seqjax.types import Params


class Lesson(NamedTuple):
    """One network and how it is trained.

    Attributes:
      state: before the first update.
      steps: from `make_train_steps`.
      data_of: `epoch -> data`, what `steps` takes the batches of that epoch from.
      steps_per_epoch: updates in each epoch.
      epochs: how many.
      evaluate: `params -> scores` on held-out examples; the first score, of which more is better,
        says which state is the best.
      sample: `params -> text`, what is shown after each epoch.
    """

    state: TrainState
    steps: Callable[[TrainState, Any, int], tuple[TrainState, Metrics]]
    data_of: Callable[[int], Any]
    steps_per_epoch: int
    epochs: int
    evaluate: Callable[[Params], dict[str, float]]
    sample: Callable[[Params], str] | None = None


def train_by_epochs(
    directory: Path, config: Any, lesson: Lesson, *, identity: dict[str, Any], name: str
) -> TrainState:
    """Trains from the start, or from the last checkpoint in the directory; returns the best state.

    Args:
      directory: of this network; it is made where there is none.
      config: of the run, with `resume`, `save_seconds` and `nonfinite`.
      lesson: what is trained.
      identity: what must be the same when the run goes on, as of `Session`.
      name: of the network, for what is printed.

    Raises:
      Stopped: after a signal, when the state is saved.
      RunError: if training diverges.
    """
    directory.mkdir(exist_ok=True)
    num_steps = lesson.epochs * lesson.steps_per_epoch
    quarter = max(1, lesson.steps_per_epoch // 4)
    most = 0 if config.nonfinite == "stop" else MOST_IN_A_ROW
    with Session(
        directory, config, lesson.state, num_steps=num_steps, identity=identity
    ) as session:
        state = session.state
        for epoch in range(int(state.step) // lesson.steps_per_epoch, lesson.epochs):
            end = (epoch + 1) * lesson.steps_per_epoch
            chunks: dict[str, Any] = {"num_steps": end, "ends": (quarter,), "most_in_a_row": most}
            for chunk in fit(lesson.steps, state, lesson.data_of(epoch), **chunks):
                values = chunk.metrics
                session.log(chunk.step, "train", **values)
                session.show(
                    chunk.step,
                    f"{name}, epoch {chunk.step / lesson.steps_per_epoch:.1f}: loss"
                    f" {values['loss']:.4f}",
                )
                if chunk.step == end:
                    scores = lesson.evaluate(chunk.state.params)
                    session.log(chunk.step, "validation", **scores)
                    shown = ", ".join(f"{key} {value:.4f}" for key, value in scores.items())
                    session.say(f"{name}, epoch {epoch + 1}: validation {shown}")
                    if lesson.sample is not None:
                        session.say(lesson.sample(chunk.state.params))
                    session.keep_best(chunk.state, -next(iter(scores.values())))
                session.save(chunk.state, due=chunk.step == end)
                state = chunk.state
        check_applied(state)
        return session.best(state)


class Network(NamedTuple):
    """One of the networks that a program compares."""

    lesson: Lesson
    identity: dict[str, Any]  # what its saved states cannot be read without
    row: Callable[[Params], dict[str, Any]]  # of the best state: what the ledger keeps


def train_networks(
    study: StudyRun, networks: Mapping[str, Callable[[], Network]]
) -> dict[str, dict[str, Any]]:
    """Trains every network that networks.jsonl lacks, one after the other; returns all rows.

    Each network has a directory of its own in the study's, by its name, with its checkpoints and
    metrics.

    Raises:
      Stopped: after a signal; what was done is saved.
    """
    rows = {}
    of = identity_of(study.config)
    with Ledger(study.workdir / "networks.jsonl", study.config.resume, of=of) as ledger:
        for name, make in networks.items():
            row = ledger.get(name)
            if row is None:
                network = make()
                try:
                    best = train_by_epochs(
                        directory_of(study.workdir, name),
                        study.config,
                        network.lesson,
                        identity=network.identity,
                        name=name,
                    )
                except Stopped as stop:  # what goes on is the run, not this network alone
                    kept_in = told(lambda: str(study.workdir))
                    advice = f"{name} is saved; go on with resume=True workdir={kept_in}"
                    raise Stopped(stop.asked, advice) from stop
                row = ledger.write(name, network.row(best.params))
            rows[name] = row
    return rows


def directory_of(workdir: Path, name: str) -> Path:
    """Where a network's files are: "bidirectional lstm, max, seed 0" in bidirectional-lstm-max-seed-0."""
    return workdir / "-".join(re.findall(r"\w+", name))


def best_params(workdir: Path, name: str, like: Params) -> Params:
    """The parameters of a trained network's best state."""
    return checkpoints(directory_of(workdir, name) / "checkpoints" / "best").restore_params(like)
