"""Train MRI-GAN on one or many processes, of one or many nodes.

    torchrun --nproc-per-node 8 launch/train_gan.py configs/gan/paper.yaml data.shards=DIR run.dir=DIR [key=value …]

The same command goes on where the run stopped. `mrigan train gan` calls the same function in one process.
"""

from mrigan.training.launch import main

if __name__ == "__main__":
    main("gan", __doc__ or "")
