"""Pixel operations on CPU and GPU: noise, augmentation, distraction, corruption; nothing of files or clips."""
