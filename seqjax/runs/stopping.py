"""SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed ssh session) as a wish to stop after the work in hand."""

import signal
from types import FrameType
from typing import Any

ASKING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Stopped(Exception):
    """A run that was asked to stop, and did so in good order.

    Args:
      asked: the signal that asked for it.
      advice: what is saved, and how to go on.

    Attributes:
      asked: the signal.
      code: the exit code, 128 plus the number of the signal, as a shell counts.
    """

    def __init__(self, asked: signal.Signals, advice: str):
        super().__init__(f"stopped by {asked.name}; {advice}.")
        self.asked = asked
        self.code = 128 + asked


class Stopper:
    """Within `with Stopper() as stopper`, signals wait until `stopper.requested` is looked at.

    A loop that saves only when asked to stop looks once, saves, and raises what it saw: a signal
    that comes after the look is for the next round, where it is saved again.

        asked = stopper.requested
        if asked or due:
            save()
        if asked:
            raise Stopped(asked, "go on with resume=True")

    A second Ctrl-C is not waited for: it raises KeyboardInterrupt at once. A signal that whoever started
    the process wants ignored is ignored. Outside the main thread,
    where Python has no signals, nothing ever asks to stop.

    Attributes:
      requested: the signal that came, or None.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def check(self, advice: str = "go on with resume=True") -> None:
        """Raises Stopped if a signal came. For loops in which everything is saved at all times."""
        if self.requested is not None:
            raise Stopped(self.requested, advice)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number)

    def __enter__(self) -> "Stopper":
        for number in ASKING:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # as `nohup` has it, and a shell for what runs in the background
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
