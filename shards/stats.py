"""Count what a shard folder holds, and say what gives its labels away.

    python shards/stats.py DIR [--figure PNG] [--json OUT]

The same as `mrigan shards stats`. Needs no training stack.
"""

import sys

from mrigan.cli import main

if __name__ == "__main__":
    sys.argv[:1] = ["mrigan", "shards", "stats"]
    main()
