"""Decide which families go into which shard.

    python shards/plan.py CATALOG -o DIR [--config shards/pairs.yaml] [key=value …]

The same as `mrigan shards plan`. Needs no training stack.
"""

import sys

from mrigan.cli import main

if __name__ == "__main__":
    sys.argv[:1] = ["mrigan", "shards", "plan"]
    main()
