"""Build what is missing of a plan; killed and started again, the result is the same, byte for byte.

    python shards/build.py DIR [--workers N]

The same as `mrigan shards build`. Needs no training stack.
"""

import sys

from mrigan.cli import main

if __name__ == "__main__":
    sys.argv[:1] = ["mrigan", "shards", "build"]
    main()
