"""Large arrays in memory that the process has had before."""

import ctypes

# Options of mallopt(3), from glibc's malloc.h.
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
LARGEST = 2**31 - 1


def reuse_freed_memory() -> bool:
    """Lets the process keep memory that it frees, for the next large array. Call it at the start.

    XLA on a CPU allocates a program's temporary arrays anew at every call. What is larger than
    32 MiB, glibc gets from the system and gives back to it each time, and every page is cleared and
    mapped again: about a fifth of the time of an LSTM's gradient over 10,000 steps (see
    docs/speed.md). It is not always better: the process keeps up to 2 GiB that it does not use, all threads
    share one heap, and a population of small models on two devices ran a fifth slower. Threads that
    have allocated before the call keep heaps of their own, which it cannot change.

    Returns:
      Whether it was done: False where the C library is not glibc.
    """
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (others have a mallopt that means other things)
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    done = [mallopt(MMAP_MAX, 0), mallopt(TRIM_THRESHOLD, LARGEST), mallopt(ARENA_MAX, 1)]
    return all(done)
