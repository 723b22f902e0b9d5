"""Speed of the MRI image on one CPU thread, beside scikit-image in the same run: python benchmarks/mri.py [rounds]

On a GPU also that of a batch, beside the memory's bandwidth: two pictures of bytes are read, one of floats is written.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import torch
from skimage.data import astronaut
from skimage.metrics import structural_similarity
from threadpoolctl import threadpool_limits

from mrigan.mri import mri_image

PAIRS, SIZE = 8, 256


def pairs() -> tuple[np.ndarray, np.ndarray]:
    """(PAIRS, SIZE, SIZE, 3) uint8: crops of a portrait, and the same with noise and a blurred middle."""
    rng = np.random.default_rng(0)
    faces = np.stack([astronaut()[i : i + SIZE, 80 + 8 * i : 80 + 8 * i + SIZE] for i in range(PAIRS)])
    fakes = np.clip(faces + rng.normal(0, 3, faces.shape), 0, 255).astype(np.uint8)
    for fake in fakes:
        fake[60:200, 60:200] = cv2.GaussianBlur(fake[60:200, 60:200], (0, 0), 2)
    return faces, fakes


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process for one pair."""
    start = time.process_time()
    work()
    return (time.process_time() - start) / PAIRS


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, the best of ten, with the device idle before and after."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times = []
    for _ in range(11):  # the first one compiles and allocates
        wait()
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def batched(device: torch.device, batch: int = 256) -> None:
    """Print a batch's speed on `device`, and the share of the bandwidth that a copy of the same memory reaches."""
    a, b = (torch.randint(0, 256, (batch, 3, SIZE, SIZE), dtype=torch.uint8, device=device) for _ in range(2))
    big = torch.zeros(64 << 20, device=device)
    bandwidth = 2 * big.nbytes / seconds(big.clone, device)
    for metric in ("ssim", "ms-ssim", "gmsd", "l1", "l2"):
        took = seconds(lambda name=metric: mri_image(a, b, name), device)
        moved = a.nbytes + b.nbytes + 4 * a.nbytes
        print(f"{metric}, {batch} pairs on {device}: {batch / took:,.0f} pairs/s, {moved / took / 1e9:.1f} GB/s, "
              f"{100 * moved / took / bandwidth:.0f} % of the {bandwidth / 1e9:.0f} GB/s of a copy")  # fmt: skip


def main(rounds: int) -> None:
    """Alternate the two, round by round, and print the medians."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    faces, fakes = pairs()
    a, b = (torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))) for x in (faces, fakes))

    def skimage() -> list[np.ndarray]:
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
        return [
            structural_similarity(x, y, channel_axis=-1, data_range=255, **options)[1]
            for x, y in zip(faces, fakes, strict=True)
        ]

    with threadpool_limits(1):
        expected = np.clip(1 - np.stack(skimage()).transpose(0, 3, 1, 2), 0, 1)
        error = np.abs(mri_image(a, b).numpy() / 255 - expected).max()
        times = [(cpu_seconds(skimage), cpu_seconds(lambda: mri_image(a, b))) for _ in range(rounds)]
        theirs, ours = np.median(times, axis=0)
        ratio = np.median([t / o for t, o in times])
        print(f"SSIM MRI of a {SIZE}x{SIZE}x3 pair: scikit-image {theirs * 1e3:.2f} ms, mrigan {ours * 1e3:.2f} ms")
        print(f"  ratio {ratio:.1f}; largest difference of S {error:.1e}")
        for metric in ("ms-ssim", "gmsd", "l1", "l2"):
            took = np.median([cpu_seconds(lambda name=metric: mri_image(a, b, name)) for _ in range(3)])
            print(f"  {metric}: {took * 1e3:.2f} ms")
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name())
        batched(torch.device("cuda"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=9)
    main(parser.parse_args().rounds)
