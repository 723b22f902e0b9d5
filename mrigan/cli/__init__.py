"""What `mrigan` starts. Signals stop it from here on, also while it imports the commands.

Exit codes: 0 done, 1 nothing could be done, 2 wrong use, 3 some inputs unreadable, 75 stopped by a signal (start it
again to go on).
"""

from __future__ import annotations

import atexit
import sys

from mrigan.stopping import Stopped, ignore_signals, stopped_by_signals


def main() -> None:
    """Run the command that `sys.argv` names, and exit."""
    atexit.register(ignore_signals)  # the work is done, and the exit code stands
    try:
        with stopped_by_signals():
            from mrigan.cli.app import run

            run()
    except Stopped as stopped:
        sys.stderr.write(f"{stopped}\n")
        sys.exit(stopped.exit_code)
