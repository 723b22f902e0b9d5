"""Training: `train.py` is the loop, `task.py` what a kind of training is, `tasks.py` which there are."""
