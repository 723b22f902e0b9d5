"""Check every shard and sample of a folder; exit code 1 and a list where something is wrong.

    python shards/verify.py DIR [--sample]

The same as `mrigan shards verify`. Needs no training stack.
"""

import sys

from mrigan.cli import main

if __name__ == "__main__":
    sys.argv[:1] = ["mrigan", "shards", "verify"]
    main()
