"""JSON files: written whole or not at all, read as what they are, files of strangers."""

import json
import math
import os
from pathlib import Path
from typing import Any

from seqjax.errors import InputError

LARGEST = 256 << 20  # bytes; what a run writes is far below


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file whole or not at all; a number that is not finite becomes null."""
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Writes to a neighbour and renames it, so that no reader ever sees half a file.

    Once it returns, the text is on the disk: it survives the machine's sudden end, too.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
      InputError: if there is no such file, it is larger than LARGEST, or is not JSON.
    """
    return parse_json(_read(path), str(path))


def read_object(path: Path) -> dict[str, Any]:
    """As `read_json`, for a file that must hold an object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object, got a {type(value).__name__}.")
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file, one a line; [] if there is no file.

    A last line without its line break was cut off in writing, and is left out.

    Raises:
      InputError: if another line is no JSON object; it names the line.
    """
    if not path.exists():
        return []
    lines = _read(path).split("\n")[:-1]
    rows = []
    for number, line in enumerate(lines, 1):
        row = parse_json(line, f"line {number} of {path}")
        if not isinstance(row, dict):
            raise InputError(f"line {number} of {path} must hold a JSON object, got {line[:40]!r}.")
        rows.append(row)
    return rows


def parse_json(text: str, name: str) -> Any:
    """The value of a JSON text; `name` says in an error where it came from."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{name} is not valid JSON: {reason}.") from error


def finite(value: Any) -> Any:
    """The same value with null for every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _read(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise InputError(f"{path} has {size:,} bytes; at most {LARGEST:,} are read.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason}.") from error
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}.") from error
    except (OSError, ValueError) as error:  # (a name with a zero byte is a ValueError)
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot read {path}: {reason}.") from error
