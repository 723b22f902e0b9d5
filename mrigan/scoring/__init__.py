"""Models and shards in, scores out: evaluation, robustness, a detector's calibration and limits, the GAN report."""
