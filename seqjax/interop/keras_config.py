"""What a `.keras` file says of its recurrent layers beside their arrays: read as JSON, never executed."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqjax.errors import InputError, shown
from seqjax.files.json import parse_json

LARGEST = 1 << 24  # bytes of config.json
GATED = {"activation": "tanh", "recurrent_activation": "sigmoid"}
CELLS: dict[str, dict[str, str]] = {
    "LSTM": GATED,
    "GRU": GATED,
    "SimpleRNN": {"activation": "tanh"},
}
LAYERS = {"RNN", *CELLS}  # an RNN has one of the cells within
WANTED = CELLS | {f"{name}Cell": wanted for name, wanted in CELLS.items()}
WANTED |= {"RNN": {}, "Bidirectional": {"merge_mode": "concat"}}


def checked(path: Path, reset_after: bool | None) -> bool | None:
    """`reset_after` of the file's GRUs without a bias; what was given if there are none.

    Raises:
      InputError: if a recurrent layer is none that seqjax has, or two of those GRUs differ.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo("config.json")
            if entry.file_size > LARGEST:
                raise InputError(f"config.json in {path} is larger than {LARGEST:,} bytes.")
            text = archive.read(entry).decode("utf-8")
    except (OSError, KeyError, zipfile.BadZipFile, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} has no config.json: {shown(str(error))}") from None
    found: set[bool] = set()
    for kind, config, backward in _layers(parse_json(text, f"config.json in {path}")):
        wanted: dict[str, Any] = dict(WANTED[kind])
        if kind in LAYERS:
            wanted["go_backwards"] = backward
        for name, value in wanted.items():
            if config.get(name, value) != value:
                raise InputError(
                    f"{config.get('name', 'a layer')} in {path} is {kind} with"
                    f" {name}={shown(config[name])}: seqjax has that with {value!r} alone."
                )
        if kind in ("GRU", "GRUCell") and config.get("use_bias") is False:
            found.add(config.get("reset_after", True) is True)
    if len(found) > 1:
        raise InputError(f"{path} has GRUs without a bias of both kinds, reset before and after.")
    return found.pop() if found else reset_after


def _layers(node: Any, backward: bool = False) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every recurrent layer below a node: its class, its config, and whether it reads backward in a pair."""
    if isinstance(node, list):
        for item in node:
            yield from _layers(item, backward)
    if not isinstance(node, dict):
        return
    kind, config = node.get("class_name"), node.get("config")
    if kind in WANTED and isinstance(config, dict):
        yield kind, config, backward
    for name, item in node.items():
        yield from _layers(item, name == "backward_layer" or (backward and name != "layer"))
