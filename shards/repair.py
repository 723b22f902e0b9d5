"""Make again what is damaged, and what could not be read when it was built; nothing else.

    python shards/repair.py DIR [--only-failed]

The same as `mrigan shards repair`. Needs no training stack.
"""

import sys

from mrigan.cli import main

if __name__ == "__main__":
    sys.argv[:1] = ["mrigan", "shards", "repair"]
    main()
