"""Freed memory is used again without the kernel."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

ROUNDS = """
import resource
from mrigan.heap import keep_freed_memory
keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    frames = [b"x" * 20_000_000 for _ in range(4)]
    del frames
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
def test_freed_memory_is_used_again_without_new_pages() -> None:
    done = subprocess.run([sys.executable, "-c", ROUNDS], check=True, stdout=subprocess.PIPE, text=True)
    pages = 4 * 20_000_000 // 4096
    assert int(done.stdout) < pages / 100
