"""What a training loop keeps on disk while it runs: metrics, the last states, the best, and signals."""

import dataclasses
import json
import math
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Generic

from seqjax.devices.processes import is_first, most, told
from seqjax.errors import InputError, RunError
from seqjax.files.json import read_object, write_json
from seqjax.runs.checkpoint import Checkpoints, State
from seqjax.runs.metrics import Records
from seqjax.runs.progress import Progress
from seqjax.runs.shared_checkpoints import SharedCheckpoints, checkpoints
from seqjax.runs.sinks import open_sinks, sinks_of
from seqjax.runs.stopping import Stopped, Stopper
from seqjax.runs.traces import check_never_began
from seqjax.runs.workdir import check_same, open_workdir


@contextmanager
def open_run(config: Any, *, name: str, version: int | None = None) -> Iterator[Path]:
    """The directory of a run, locked until the end of the `with`, its config in config.json.

    Of several processes (see `seqjax.devices.processes`) only the first one has it: the others are
    silent, and write to a directory that is removed in the end.

    Args:
      config: a dataclass with the field `workdir`, and `resume` if a run can go on.
      name: of the program.
      version: of the format of the run's own files, where formats have changed.

    Raises:
      InputError: as `open_workdir`; or if the run that goes on was made with another config, or its
        files are of another version.
      RunError: as `open_workdir`.
    """
    resume = getattr(config, "resume", False)
    if resume and not config.workdir:
        raise InputError("resume=True needs the workdir= of an earlier run, got ''.")
    with (
        open_workdir(config.workdir, name=name, resume=resume)
        if is_first()
        else _silent() as workdir
    ):
        check_alike(config)
        if resume:
            saved = told(lambda: read_object(workdir / "config.json"))
            if saved.get("version") != version:
                raise InputError(
                    f"the run in {workdir} has records of version {saved.get('version')}, this"
                    f" program writes {version}: start another run in another directory."
                )
            check_same(saved, config, workdir)
        written = dataclasses.asdict(config) | ({} if version is None else {"version": version})
        write_json(workdir / "config.json", written)
        yield workdir


@contextmanager
def _silent() -> Iterator[Path]:
    """A directory for what nobody needs; what is printed meanwhile is lost."""
    with (
        tempfile.TemporaryDirectory(prefix="seqjax-") as workdir,
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
    ):
        yield Path(workdir)


def check_alike(config: Any) -> None:
    """Raises InputError if the first of several processes has another config."""
    first = told(lambda: dataclasses.asdict(config))
    for name, value in dataclasses.asdict(config).items():
        if name not in ("workdir", "resume") and first[name] != value:
            raise InputError(
                f"{name}={value} here, and {name}={first[name]} in the first process: give all"
                " processes the same."
            )


class Session(Generic[State]):
    """The files of one training run, from the state where it begins to its last save.

        with Session(workdir, config, state, num_steps=1000, identity={"text": digest}) as session:
            for chunk in fit(steps, session.state, data, num_steps=1000, ends=(50,)):
                session.log(chunk.step, "train", loss=chunk.metrics["loss"])
                session.save(chunk.state, due=chunk.step % 500 == 0)

    A run that is stopped and resumed leaves the files of one that was not.

    Args:
      workdir: from `open_run`.
      config: the run's dataclass; its `resume` and `save_seconds` are read, and `log_to`, the names of
        `seqjax.runs.sinks`, if it has it.
      state: before the first update; it has a `step`.
      num_steps: the last update.
      identity: JSON values that are saved with every state, and must be the same when the run goes
        on: what the model cannot be read without, as its vocabulary, or what it was trained on, as a
        digest of its text.

    Attributes:
      state: where training begins: as given, or as it was saved.
      best_loss: the lowest that `keep_best` was given; infinite at first.

    Raises:
      InputError: if what was saved is of another run.
      RunError: if it cannot be read.
    """

    def __init__(
        self,
        workdir: Path,
        config: Any,
        state: State,
        *,
        num_steps: int,
        identity: dict[str, Any] | None = None,
    ):
        self.workdir, self.state = workdir, state
        self.best_loss = math.inf
        if told(lambda: identity) != json.loads(json.dumps(identity)):
            raise InputError("the first process has other data than this one: give all the same.")
        self._kept_in = told(lambda: str(workdir))
        self._sinks = sinks_of(getattr(config, "log_to", "")) if is_first() else ()
        self._num_steps, self._save_seconds = num_steps, config.save_seconds
        self._saved_with = {"config": dataclasses.asdict(config), **(identity or {})}
        self._last = checkpoints(workdir / "checkpoints" / "last")
        self._best = checkpoints(workdir / "checkpoints" / "best")
        if config.resume:
            if self._last.exists():
                self._go_on(config, identity or {})
            else:  # it was killed before its first save
                told(lambda: check_never_began(workdir))
        self._best.drop_after(int(self.state.step))  # of a run that was killed between two saves

    def _go_on(self, config: Any, identity: dict[str, Any]) -> None:
        record = self._read_own(self._last, config, identity)
        best_loss = record.get("best_loss")
        self.best_loss = float(best_loss) if isinstance(best_loss, int | float) else math.inf
        if self._best.exists():
            self._read_own(self._best, config, identity)
        else:
            self._check_none_was_best()
        self.state = self._last.restore(self.state)

    def _read_own(
        self, kept: Checkpoints | SharedCheckpoints, config: Any, identity: dict[str, Any]
    ) -> dict[str, Any]:
        """The record of what was saved; an InputError if another run saved it."""
        record = kept.read_record()
        check_same(record.get("config", {}), config, kept.directory)
        for name, value in identity.items():
            if record.get(name, value) != value:  # older versions saved less
                raise InputError(
                    f"the run in {self.workdir} was trained with another {name}: give it the same"
                    " data as before, or start another run in another directory."
                )
        return record

    def _check_none_was_best(self) -> None:
        """Raises RunError if a best state was kept: the one that is best from now on may be worse."""
        if self.best_loss < math.inf:
            raise RunError(
                f"the best state, of loss {self.best_loss:.4g}, is no longer in"
                f" {self._best.directory}: bring it back, or start another run in another directory."
            )

    def __enter__(self) -> "Session[State]":
        step = int(self.state.step)
        with ExitStack() as stack:
            if not self._last.exists():  # a row without a state to go on from would be a loss
                self._last.save(self.state, self._record())
            sinks = open_sinks(self._sinks, self.workdir, self._saved_with["config"])
            records = Records(self.workdir, resume_step=step, sinks=sinks)
            self._records = stack.enter_context(closing(records))
            self._progress = stack.enter_context(closing(Progress(self._num_steps, step)))
            for kept in (self._best, self._last):
                stack.enter_context(closing(kept))
            self._stopper = stack.enter_context(Stopper())
            self._stack = stack.pop_all()
        self._saved_at = time.monotonic()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def log(self, step: int, split: str, **values: float) -> None:
        """Writes one row of metrics."""
        self._records.write(step, split, **values)

    def show(self, step: int, text: str) -> None:
        """Shows that `step` is done, as often as a person would look."""
        self._progress.update(step, text)

    def say(self, text: str) -> None:
        """Prints a line."""
        self._progress.print(text)

    def keep_best(self, state: State, loss: float) -> None:
        """Saves the state as the best if its loss is the lowest so far."""
        loss = float(loss)
        lowest = told(lambda: bool(loss < self.best_loss))  # of several processes, all decide alike
        if lowest:
            self.best_loss = loss
            self._best.save(state, self._record())

    def best(self, like: State) -> State:
        """The state of the lowest loss; `like` itself if none was kept.

        Raises:
          RunError: if it is there no longer, or cannot be read.
        """
        if self._best.exists():
            return self._best.restore(like)
        self._check_none_was_best()
        return like

    def save(self, state: State, *, due: bool) -> None:
        """Saves the state if it is due, or the last save is long ago, or a signal asks to stop.

        Raises:
          Stopped: after the save, if a signal did.
          RunError: if it cannot be written.
        """
        requested = self._stopper.requested  # looked at once: what comes later is for the next save
        long_ago = time.monotonic() - self._saved_at > self._save_seconds > 0
        asked, long_ago = most(requested or 0, long_ago)  # of several processes, all do the same
        if due or long_ago or asked:
            self._last.save(state, self._record())
            self._saved_at = time.monotonic()
        if asked:
            raise Stopped(
                signal.Signals(asked),
                f"step {int(state.step)} is saved; go on with resume=True workdir={self._kept_in}",
            )

    def _record(self) -> dict[str, Any]:
        # JSON has no infinity
        return self._saved_with | {
            "best_loss": self.best_loss if self.best_loss < math.inf else None
        }
