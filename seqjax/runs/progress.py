"""Progress a person can follow: a bar on a terminal, plain lines in a log."""

import sys
import time

from tqdm import tqdm


class Progress:
    """Counts steps. A plain line is printed at most every `seconds`.

    Args:
      total: the last step.
      initial: the first step.
      seconds: between plain lines, where standard error is no terminal.
    """

    def __init__(self, total: int, initial: int = 0, *, seconds: float = 10.0):
        self._total, self._seconds = total, seconds
        self._start, self._initial = time.monotonic(), initial
        self._last = self._start
        self._bar = (
            tqdm(total=total, initial=initial, unit="step", dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def pass_over(self) -> None:
        """One of the steps was done by an earlier run: it counts for no pace."""
        self._initial += 1
        if self._bar is not None:
            self._bar.initial += 1
            self._bar.n += 1
            self._bar.last_print_n += 1

    def update(self, step: int, text: str) -> None:
        """Shows that `step` is done."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
            return
        now = time.monotonic()
        if now - self._last >= self._seconds or step == self._total:
            self._last = now
            rate = max(step - self._initial, 1) / max(now - self._start, 1e-9)
            left = (self._total - step) / rate
            pace = f"{rate:.1f} steps/s" if rate >= 1 else f"{1 / rate:.1f} s a step"
            self.print(f"step {step}/{self._total}  {text}  {pace}, {left:.0f} s left")

    def print(self, text: str) -> None:
        """Prints a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
