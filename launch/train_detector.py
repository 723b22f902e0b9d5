"""Train a detector, on faces or on the MRIs that a trained generator predicts from them, on one or many processes.

    torchrun --nproc-per-node 8 launch/train_detector.py configs/detector/face.yaml data.shards=DIR run.dir=DIR \
        model.weights=FILE
    torchrun --nproc-per-node 8 launch/train_detector.py configs/detector/mri.yaml data.shards=DIR run.dir=DIR \
        model.generator=GAN/model/generator.safetensors model.weights=FILE

The same command goes on where the run stopped. `mrigan train detector` is the same in one process.
"""

import sys

from mrigan.cli import main

if __name__ == "__main__":
    sys.argv[:1] = ["mrigan", "train", "detector"]
    main()
