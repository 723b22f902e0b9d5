"""A file that hangs whoever opens it, in the kernel, as one of a dead mount does: another process has a lease on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HOLD = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)  # the kernel asks to give the lease back, and waits for 45 s
descriptor = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
except OSError as error:
    print(error.strerror, flush=True)
else:
    print(flush=True)
    sys.stdin.read()
"""


@contextmanager
def hanging(path: Path) -> Iterator[None]:
    """Within the block `open(path)` does not come back; `stat` does. Needs a file system with leases."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            if problem := holder.stdout.readline().strip():
                pytest.skip(f"no lease on {path}: {problem}")
            yield
        finally:
            holder.stdin.close()
