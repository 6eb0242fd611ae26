"""The process around a program: its standard streams, and Ctrl-C while it is still being imported.

It imports next to nothing: it has to be there before what takes seconds.
"""

import contextlib
import io
import os
import signal
import sys
from typing import Any, NoReturn


def prepare() -> None:
    """Makes the standard streams safe to print to; a second call does nothing."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # It was closed, and the next file to be opened, a checkpoint say, would take its place.
            with contextlib.suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = _stream(1, sys.stdout, sys.__stdout__)
    sys.stderr = _stream(2, sys.stderr, sys.__stderr__)


def leave_on_ctrl_c() -> None:
    """Until a program is at work, Ctrl-C ends it with a sentence: nothing is there to be saved."""
    with contextlib.suppress(ValueError):  # not the main thread
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)


def raise_on_ctrl_c() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, as Python has it."""
    with contextlib.suppress(ValueError):
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: Any) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, b"error: interrupted.\n")
    os._exit(130)


class _Quiet(io.FileIO):
    """Where nobody reads any more, as after `| head -1`, what is written is lost, and no error."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:  # is said once, where it is one
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                return memoryview(data).nbytes
            raise


def _stream(descriptor: int, now: Any, original: Any) -> Any:
    """A text stream that shows every character in some way, and minds no broken pipe."""
    if now is not original:  # a test's or a notebook's, or ours already
        return now
    encoding = "utf-8"
    if now is not None:
        now.flush()
        encoding = now.encoding
    return io.TextIOWrapper(
        io.BufferedWriter(_Quiet(descriptor, "w", closefd=False)),
        encoding,
        errors="backslashreplace",
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )
