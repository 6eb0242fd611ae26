"""Files of strangers and files of ours: read with limits, written whole or not at all.

Text, JSON and arrays; nothing recurrent. Nothing that is read is ever executed.
"""

from seqjax.files.arrays import files_below, read_arrays
from seqjax.files.json import read_json, read_lines, read_object, write_atomically, write_json
from seqjax.files.text import read_bytes, read_text

__all__ = [
    "files_below",
    "read_arrays",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_object",
    "read_text",
    "write_atomically",
    "write_json",
]
