"""Freed memory is kept: the second large array touches no new page, whichever thread asks for it."""

import subprocess
import sys

import pytest

PAGES = """
import ctypes, resource, sys, threading
from seqjax.devices.memory import reuse_freed_memory
done = reuse_freed_memory() if sys.argv[1] == "reuse" else None
library, size = ctypes.CDLL(None), 64 << 20
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    place = library.malloc(size)  # not NumPy, which asks the system for huge pages
    library.memset(place, 1, size)
    library.free(place)
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

found = []
for _ in range(2):
    new_pages()
thread = threading.Thread(target=lambda: [new_pages() for _ in range(2)])
thread.start()
thread.join()
print(done, found[1], found[3], size // resource.getpagesize())
"""


def run(way):
    done = subprocess.run([sys.executable, "-c", PAGES, way], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_the_second_array_is_where_the_first_was():
    _, *without, pages = run("as it is")
    if min(map(int, without)) < int(pages) / 2:
        pytest.skip("here freed memory is kept, or pages are larger, anyway")
    done, *new, _ = run("reuse")
    if done == "False":
        pytest.skip("the C library is not glibc")
    assert max(map(int, new)) < int(pages) / 100
