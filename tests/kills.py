"""Kill a piece of work at each of its failpoints in turn, in processes that are forked from one that has loaded all.

python -c "...; kill_at_each(work)"     `work()` begins, or goes on, where the one before was killed
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable

from mrigan.files import FAILPOINT

MOST = 1000


def kill_at_each(work: Callable[[], None], begin: Callable[[], None], check: Callable[[], None], name: str = "") -> int:
    """For each failpoint whose name begins with `name`: begin, work until it is reached and the process killed, check.

    Returns:
        How many there were.
    """
    for number in range(1, MOST):
        begin()
        if not run_until(work, f"{name} {number}"):
            return number - 1
        check()
    raise AssertionError("too many failpoints")


def run_until(work: Callable[[], None], failpoint: str) -> bool:
    """Work in a fork; whether it was killed at `failpoint`. It must end well otherwise."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.environ[FAILPOINT] = failpoint
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 (of a fork: nothing of the parent's may run)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL), ended
    return ended != 0
