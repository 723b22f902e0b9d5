"""The memory that a worker frees stays with the worker, for the next frame.

By default the GNU C library gives large freed blocks back to the system, and gets them again, page by page and zeroed,
a moment later. A worker that decodes and compares frames frees and allocates megabytes for each of them.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
MAX_FREE = 256 * 2**20  # bytes at the heap's end that are kept
MAX_BLOCK = 32 * 2**20  # bytes of a block that comes from the heap; the largest threshold that every version takes


def keep_freed_memory() -> None:
    """Let this process keep what it frees. Has no effect where the C library has no `mallopt`."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, MAX_FREE)
        mallopt(M_MMAP_THRESHOLD, MAX_BLOCK)
