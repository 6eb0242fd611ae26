"""Trees of arrays in the safetensors format: bit for bit, with the config in the file's metadata."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from seqjax.errors import InputError, shown
from seqjax.files.writing import write_bytes
from seqjax.types import Params

LARGEST_CONFIG = 1 << 20  # characters


def write_safetensors(path: str | Path, params: Params, config: dict[str, Any]) -> None:
    """Writes a tree of dicts, lists and tuples of arrays, whole or not at all.

    Args:
      path: of the file.
      params: names are joined by dots, places in lists and tuples count as names.
      config: values of JSON; stands in the metadata under "config".

    Raises:
      InputError: if a name has a dot in it, or safetensors is not installed.
    """
    arrays = flat(params)
    text = json.dumps(config, allow_nan=False)
    data = _library().numpy.save(arrays, metadata={"format": "seqjax", "config": text})
    write_bytes(Path(path).expanduser(), data)


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a file by name, and the config of its metadata, {} if it has none.

    Nothing is executed, and the file is mapped, not read, until an array is.

    Raises:
      InputError: if the file is not sound, or safetensors is not installed.
    """
    library = _library()
    path = Path(path).expanduser()
    try:
        with library.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = metadata.get("config", "{}")
        config = json.loads(text) if len(text) <= LARGEST_CONFIG else None
    except (OSError, ValueError, RecursionError, library.SafetensorError) as error:
        raise InputError(f"{path} cannot be read as safetensors: {shown(str(error))}") from None
    if not isinstance(config, dict):
        raise InputError(f"the config in the metadata of {path} must be a JSON object.")
    return arrays, config


def flat(params: Params) -> dict[str, np.ndarray]:
    """A tree of arrays by names joined by dots."""
    arrays = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        names = [jax.tree_util.keystr((part,), simple=True) for part in path]
        if any("." in name for name in names):
            raise InputError(f"names must have no dot, got {shown(names)}.")
        arrays[".".join(names)] = np.asarray(leaf, order="C")
    return arrays


def unflat(arrays: dict[str, np.ndarray], like: Params) -> Params:
    """The arrays in a tree of the structure, shapes and types of `like`.

    Raises:
      InputError: if one is missing, left over, or of another shape.
    """
    wanted = jax.tree.leaves_with_path(like)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in wanted]
    missing, surplus = sorted({*names} - {*arrays}), sorted({*arrays} - {*names})
    if missing or surplus:
        what = f"no {missing[0]}" if missing else f"{surplus[0]}, which nothing asks for"
        raise InputError(f"the file has {what}: its arrays are not those of this model.")
    for name, (_, leaf) in zip(names, wanted, strict=True):
        if arrays[name].shape != leaf.shape or arrays[name].dtype != leaf.dtype:
            raise InputError(
                f"{name} must be {leaf.dtype} of shape {leaf.shape}, got {arrays[name].dtype} of shape"
                f" {arrays[name].shape}."
            )
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in names])


def _library() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise InputError("safetensors is not installed: pip install safetensors.") from None
    return safetensors
