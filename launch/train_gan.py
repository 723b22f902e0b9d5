"""Train MRI-GAN on one or many processes, of one or many nodes.

    torchrun --nproc-per-node 8 launch/train_gan.py configs/gan/paper.yaml data.shards=DIR run.dir=DIR [key=value …]

The same command goes on where the run stopped. `mrigan train gan` is the same in one process.
"""

import sys

from mrigan.cli import main

if __name__ == "__main__":
    sys.argv[:1] = ["mrigan", "train", "gan"]
    main()
