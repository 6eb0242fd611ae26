"""JSON files: written whole or not at all, and read as if somebody else had written them."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from seqjax.errors import InputError, shown
from seqjax.files.text import read_text
from seqjax.files.writing import write_atomically

LARGEST = 64 << 20  # bytes; what a run writes is far below, what Python makes of it far above
DEEPEST = 100  # levels of nesting; Python's own limit is met at another depth by each function


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file whole or not at all; a number that is not finite becomes null."""
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    # Lone surrogates, as in a path that is not UTF-8, are the one thing UTF-8 cannot hold.
    text = re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)
    write_atomically(path, text + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
      InputError: if there is no such file, it is larger than LARGEST, or is not JSON; or it is
        nested deeper than DEEPEST, or holds a number beyond a float.
    """
    return parse_json(read_text(path, LARGEST), str(path))


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
    if not os.path.lexists(path):
        return []
    lines = read_text(path, LARGEST).split("\n")[:-1]
    rows = []
    for number, line in enumerate(lines, 1):
        row = parse_json(line, f"line {number} of {path}")
        if not isinstance(row, dict):
            raise InputError(f"line {number} of {path} must hold a JSON object, got {shown(row)}.")
        rows.append(row)
    return rows


def parse_json(text: str, name: str) -> Any:
    """The value of a JSON text; `name` says in an error where it came from."""
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite_float)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{name} is not valid JSON: {reason}.") from error
    if _depth(value) > DEEPEST:
        raise InputError(f"{name} is too deeply nested: more than {DEEPEST} levels.")
    return value


def _depth(value: Any) -> int:
    """Levels of nesting, counted no further than just above DEEPEST."""
    depth, level = 0, [value]
    while depth <= DEEPEST and (level := [v for v in level if isinstance(v, dict | list)]):
        depth += 1
        level = [x for v in level for x in (v.values() if isinstance(v, dict) else v)]
    return depth


def finite(value: Any) -> Any:
    """The same value with null for every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite_float(text: str) -> float:
    """Python reads 1e999 as infinity, which it then cannot write."""
    if math.isinf(value := float(text)):
        raise ValueError(f"{text:.40} is beyond a float")
    return value
