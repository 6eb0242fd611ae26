"""Reading files within limits, whoever wrote them, and writing them whole or not at all.

Text, JSON and arrays; nothing recurrent. Nothing that is read is ever executed.
"""

from seqjax.files.arrays import files_below, read_arrays
from seqjax.files.json import read_json, read_lines, read_object, write_json
from seqjax.files.text import read_bytes, read_text
from seqjax.files.writing import (
    append,
    is_folder,
    make_folder,
    make_new,
    start_file,
    write_atomically,
    write_bytes,
)

__all__ = [
    "append",
    "files_below",
    "is_folder",
    "make_folder",
    "make_new",
    "read_arrays",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_object",
    "read_text",
    "start_file",
    "write_atomically",
    "write_bytes",
    "write_json",
]
