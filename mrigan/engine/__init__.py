"""One face for every way to train: ranks, precision, checkpoints, signals."""
