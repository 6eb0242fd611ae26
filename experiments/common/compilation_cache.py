"""Compiled programs kept in a folder, so that the second start of a program need not compile."""

import hashlib
import os
import platform
import stat
import warnings
from contextlib import suppress
from pathlib import Path

import jax

from seqjax.errors import InputError

AUTO = "auto"
LARGEST = 1 << 30  # bytes that are kept; what was read longest ago goes first


def use_compilation_cache(folder: str) -> Path | None:
    """Lets JAX keep what it compiles in a folder; returns where, or None where nothing is kept.

    A folder that cannot be written, or that another user can write to, is not used: what stands in it is run. Entries are named by JAX by all that they depend on, the versions among them; each kind of processor has a folder
    of its own below. An entry that cannot be read is compiled anew.

    Args:
      folder: "auto", the user's own cache folder; a path; or "" for none. Where JAX_COMPILATION_CACHE_DIR is
        set, "auto" leaves it to JAX.

    Raises:
      InputError: if a path is given and cannot be used.
    """
    if not folder or (folder == AUTO and getattr(jax.config, "jax_compilation_cache_dir", None)):
        return None
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    root = Path(base) / "seqjax" if folder == AUTO else Path(folder)
    try:
        own = root.expanduser() / processor()
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = _reason_against(own)
        if not reason:
            _make_room(own)
    except (OSError, RuntimeError, ValueError) as error:  # read-only, full, nobody's home, no path
        reason = str(error)
    if reason and folder != AUTO:
        raise InputError(f"compilation_cache={folder} cannot be used: {reason}.")
    if reason:
        return None
    jax.config.update("jax_compilation_cache_dir", str(own))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # (to compile again is no fault of the user's)
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation")
    return own


def processor() -> str:
    """A name for this kind of processor: compiled programs hold its instructions."""
    text = platform.machine() + platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        kinds = ("vendor_id", "model name", "flags", "Features")
        text += "".join(sorted({line for line in lines if line.startswith(kinds)}))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _reason_against(folder: Path) -> str:
    """Why programs should not be kept there; "" where this user alone can write to it, and can."""
    status = folder.stat()
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        return "it is another user's, who could put programs there"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others can write to it, and so put programs there"
    return "" if os.access(folder, os.W_OK) else "it cannot be written to"


def _make_room(folder: Path) -> None:
    """Removes the entries that were read longest ago, where all are too large, and empty ones."""
    entries = []
    for path in folder.glob("*-cache"):
        with suppress(OSError):  # another run has removed it
            status = path.stat()
            entries.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    total = 0
    for _, size, path in sorted(entries, reverse=True):
        total += size
        if total > LARGEST or not size:
            with suppress(OSError):
                path.unlink()
