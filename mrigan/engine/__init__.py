"""What every training needs: engines, ranks, precision, optimizers, checkpoints, signals."""
