"""Score models on shards and write the report, or write it again from scores.

    python launch/evaluate.py --model models:/mrigan-face@champion --shards DIR -o OUT
    python launch/evaluate.py --scores OUT/scores.parquet -o AGAIN

The same as `mrigan evaluate`. One process scores everything, so that no part can be missing: the others that torchrun
may have started leave at once.
"""

import os
import sys

from mrigan.cli import main

if __name__ == "__main__" and os.environ.get("RANK", "0") == "0":
    sys.argv[:1] = ["mrigan", "evaluate"]
    main()
