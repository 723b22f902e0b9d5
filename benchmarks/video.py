"""CPU cost of frames and faces, in one run: `python benchmarks/video.py [VIDEO...]`.

Without videos: the research clips beside the project where they are at hand, else a 720p and a 1080p clip made from
scikit-image's portrait. Prints CPU-milliseconds of one thread a frame, and ratios, which depend less on the machine.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN

from mrigan.config import FacesConfig
from mrigan.video import Detection, FaceDetector, Frame, probe, read_frames
from mrigan.video.frames import decode
from mrigan.video.tracks import iou

ROOT = Path(__file__).parents[1]
RESEARCH = ROOT.parent / "shared" / "data"
CLIPS = ("faceforensics/original_sequences/youtube/c40/videos/481.mp4", "dfdc/dfdc_train_part_0/aajsqyyjni.mp4")
FRAMES = 20  # sampled frames that go through detection


def portrait_clip(folder: Path, size: tuple[int, int], count: int = 200) -> Path:
    """The astronaut in front of a landscape, moving, with camera noise."""
    import av
    from skimage import data

    w, h = size
    rng = np.random.default_rng(0)
    back = cv2.resize(rng.integers(0, 200, (9, 16, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC)
    person = cv2.resize(data.astronaut(), (h, h), interpolation=cv2.INTER_AREA)
    noise = rng.normal(0, 3, (h, w, 1))
    path = folder / f"portrait-{h}p.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "veryfast", "bf": "3"})
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        for i in range(count):
            image = back.copy()
            x = int((w - h) / 2 + (w - h) / 3 * np.sin(i / 15))
            image[:, x : x + h] = person
            image = np.clip(image + np.roll(noise, i * 37, axis=1), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    return path


def cpu_ms(act: Callable[[], int]) -> float:
    """CPU-milliseconds for each of the items that `act` says it did."""
    start = time.process_time()
    items = act()
    return 1e3 * (time.process_time() - start) / max(items, 1)


def measure(path: Path) -> None:
    info = probe(path)
    total = sum(1 for _ in decode(path))  # warms the page cache
    total_sampled = -(-total // 10)
    plain = cpu_ms(lambda: sum(1 for _ in decode(path)))
    sampled = cpu_ms(lambda: sum(1 for _ in read_frames(path, every=10))) * total_sampled / total
    every = cpu_ms(lambda: sum(1 for _ in read_frames(path, every=1)))
    print(f"\n{path.name}: {info.codec} {info.pix_fmt} {info.width} × {info.height}, {total} frames")
    print(
        f"  a source frame: all decoded {plain:.2f} ms; every 10th converted {sampled:.2f} ms; all converted "
        f"{every:.2f} ms  → every 10th costs {sampled / every:.2f} of all"
    )
    frames = list(read_frames(path, indices=range(0, total, max(total // FRAMES, 1))))[:FRAMES]
    shrunk, small = detect(FaceDetector(FacesConfig()), frames)
    native, full = detect(FaceDetector(FacesConfig(long_side=0)), frames)
    library = by_library(frames)
    print(f"    by facenet-pytorch at long side 640 {library:.0f} ms → ours costs {small / library:.2f} of it")
    both = [(a[0], b[0]) for a, b in zip(shrunk, native, strict=True) if a and b]
    print(
        f"  a sampled frame: faces at long side 640 {small:.0f} ms, at full size {full:.0f} ms"
        f"  → {full / small:.1f} times as fast"
    )
    if both:
        overlap = np.mean([iou(a.box, b.box) for a, b in both])
        moved = np.median([np.abs(np.subtract(a.box, b.box)).max() for a, b in both])
        print(f"  largest face in {len(both)} of {len(frames)} frames: mean IoU {overlap:.2f}, moved {moved:.1f} px")
    print(f"  a sampled frame in all: {10 * sampled + small:.0f} ms (decoding {10 * sampled:.0f})")


def detect(detector: FaceDetector, frames: list[Frame]) -> tuple[list[list[Detection]], float]:
    """The faces of every frame and the CPU-milliseconds a frame."""
    detector.detect([frames[0].image])  # warm-up
    found: list[list[Detection]] = []

    def work() -> int:
        for start in range(0, len(frames), detector.batch):
            found.extend(detector.detect([f.image for f in frames[start : start + detector.batch]]))
        return len(frames)

    cost = cpu_ms(work)
    return found, cost


def by_library(frames: list[Frame]) -> float:
    """CPU-milliseconds a frame of facenet-pytorch's own cascade at detection size."""
    config = FacesConfig()
    nets = MTCNN(keep_all=True, min_face_size=config.min_face, thresholds=config.thresholds, factor=config.factor)
    scale = config.long_side / max(frames[0].image.shape[:2])
    small = [cv2.resize(f.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for f in frames]
    with torch.inference_mode():
        nets.detect(small[0])
        return cpu_ms(lambda: sum(len(nets.detect(image)) > 0 for image in small))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO")
    given = parser.parse_args().videos
    if missing := [str(path) for path in given if not path.is_file()]:
        parser.error(f"there is no file {missing[0]}")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    paths = given or [RESEARCH / c for c in CLIPS if (RESEARCH / c).is_file()]
    with tempfile.TemporaryDirectory() as folder:
        for path in paths or [portrait_clip(Path(folder), size) for size in ((1280, 720), (1920, 1080))]:
            measure(path)


if __name__ == "__main__":
    main()
