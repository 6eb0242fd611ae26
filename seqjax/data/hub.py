"""Data sets of the Hugging Face hub, by name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from seqjax.errors import InputError


def load_hub(name: str) -> dict[str, Any]:
    """The splits of a data set, each a `datasets.Dataset`.

    Args:
      name: NAME or NAME/CONFIG, where NAME may be OWNER/NAME.

    Raises:
      InputError: if it is no such name, or cannot be loaded.
    """
    import datasets  # it takes a second, which programs that read files need not wait

    # `datasets` would take a path or a URL, too; no such name is one. From version 4 on it runs no
    # code of a data set.
    parts = name.split("/")
    if len(parts) > 3 or not all(re.fullmatch(r"\w[\w.-]{0,95}", p, re.ASCII) for p in parts):
        raise InputError(f"data=hf:{name}: write hf:NAME or hf:NAME/CONFIG.")
    # NAME itself may be OWNER/NAME, so two parts can be read in two ways.
    readings: list[tuple[str, str | None]] = [(name, None)] if len(parts) < 3 else []
    if len(parts) > 1:
        readings.append(("/".join(parts[:-1]), parts[-1]))
    errors = []
    for path, config in readings:
        try:
            with _quiet():
                return dict(datasets.load_dataset(path, config))
        except Exception as error:  # the hub client raises dozens of kinds
            errors.append((str(error).strip() or type(error).__name__).splitlines()[0])
    raise InputError(f"data=hf:{name}: cannot load it ({'; '.join(errors)}).")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the progress bars of `datasets` for a moment."""
    import datasets

    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()
