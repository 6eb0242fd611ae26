"""Freed memory is kept: the second large array touches no new page."""

import subprocess
import sys

import pytest

PAGES = """
import resource, sys
import numpy as np
from seqjax.memory import reuse_freed_memory
done = reuse_freed_memory() if sys.argv[1] == "reuse" else None

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

new_pages()
print(done, new_pages(), (64 << 20) // resource.getpagesize())
"""


def run(way):
    done = subprocess.run([sys.executable, "-c", PAGES, way], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_second_array_is_where_the_first_was():
    _, without, of = run("as it is")
    if int(without) < int(of) / 2:
        pytest.skip("here freed memory, or a page, is larger anyway")
    done, new, of = run("reuse")
    if done == "False":
        pytest.skip("the C library is not glibc")
    assert int(new) < int(of) / 100
