"""CPU-seconds a stored sample beside the straightforward way, where they go, and what a second worker brings.

    python benchmarks/families.py [--part compare] [--sizes 720p 1080p] [--families N] [--frames N] [--repeats N]
    python benchmarks/families.py --part workers --workers 1 2     # on a quiet machine: wall times count

Families of one original and four fakes, H.264 (x264's defaults, 4:2:0), 720p and 1080p. Where the research videos lie
beside the project: at 720p FaceForensics++ with its four methods, at 1080p originals of DFDC with fakes made here; else
the people of the embedded sample, enlarged. Faces are found by the real MTCNN in both ways.

The straightforward way: each clip is decoded and searched for faces by itself, at full size, on every 10th frame, by
facenet-pytorch; scikit-image's SSIM of the fake's face and the original's; PNG files. One thread in both ways, by
turns, family by family: what else runs on the machine changes. A figure is the median of repeats, each from nothing.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from parts.family_clips import FACES, SIZES, make_families
from skimage.metrics import structural_similarity

from mrigan.catalog import scan_catalog, write_catalog
from mrigan.config import ShardsConfig, load_config
from mrigan.packing import Plan, Summary, Unit, build_shards, plan_shards
from mrigan.packing.dispatch import UnitTask
from mrigan.packing.unit import UnitMaker
from mrigan.video import expand_box


class Straightforward:
    """The plain way, its CPU-seconds by stage and the number of samples that it stored."""

    def __init__(self, out: Path) -> None:
        self.mtcnn = MTCNN(
            keep_all=True, min_face_size=FACES.min_face, thresholds=FACES.thresholds, factor=FACES.factor
        )
        self.out, self.seconds, self.stored = out, Counter[str](), 0

    def family(self, paths: Sequence[Path]) -> None:
        original = self.faces(paths[0])
        for (frame, person), face in original.items():
            self.store(f"{paths[0].stem}-{frame}-{person}", face, np.zeros_like(face))
        for path in paths[1:]:
            for (frame, person), face in self.faces(path).items():
                if (frame, person) in original:
                    self.store(f"{path.stem}-{frame}-{person}", face, self.mri(original[frame, person], face))

    def faces(self, path: Path) -> dict[tuple[int, int], np.ndarray]:
        """The faces of a clip by frame and size, (256, 256, 3)."""
        found = {}
        for index, image in self.frames(path):
            with self.clock("detect"), torch.inference_mode():
                boxes, _ = self.mtcnn.detect(image)
            with self.clock("crop"):
                boxes = [] if boxes is None else sorted(boxes, key=lambda b: (b[0] - b[2]) * (b[3] - b[1]))
                for person, box in enumerate(boxes):
                    x0, y0, x1, y1 = expand_box(np.clip(box, 0, 4096), 0.1, image.shape[1::-1])
                    if x1 > x0 and y1 > y0:
                        face = cv2.resize(image[y0:y1, x0:x1], (256, 256), interpolation=cv2.INTER_AREA)
                        found[index, person] = face
        return found

    def frames(self, path: Path) -> Iterator[tuple[int, np.ndarray]]:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_count = 1
            frames = enumerate(container.decode(video=0))
            while True:
                with self.clock("decode"):
                    index, frame = next(frames, (-1, None))
                    image = frame.to_ndarray(format="rgb24") if frame is not None and index % 10 == 0 else None
                if frame is None:
                    return
                if image is not None:
                    yield index, image

    def mri(self, original: np.ndarray, face: np.ndarray) -> np.ndarray:
        with self.clock("mri"):
            options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
            similar = structural_similarity(original, face, channel_axis=-1, data_range=255, **options)[1]
            return (np.clip(1 - similar, 0, 1) * 255).astype(np.uint8)

    def store(self, name: str, face: np.ndarray, mri: np.ndarray) -> None:
        with self.clock("write"):
            cv2.imwrite(str(self.out / f"{name}-face.png"), cv2.cvtColor(face, cv2.COLOR_RGB2BGR))
            cv2.imwrite(str(self.out / f"{name}-mri.png"), cv2.cvtColor(mri, cv2.COLOR_RGB2BGR))
        self.stored += 1

    def clock(self, stage: str) -> Clock:
        return Clock(self.seconds, stage)


class Clock:
    """CPU-seconds of this process for a stage."""

    def __init__(self, seconds: Counter[str], stage: str) -> None:
        self.seconds, self.stage = seconds, stage

    def __enter__(self) -> None:
        self.start = time.process_time()

    def __exit__(self, *error: object) -> None:
        self.seconds[self.stage] += time.process_time() - self.start


def planned(root: Path, out: Path) -> Plan:
    """One unit a family."""
    catalog, _ = scan_catalog("dfdc", root)
    write_catalog(catalog, root / "catalog.parquet")
    settings = ["pack.shard_mib=8", "pack.splits=[train,val,test]"]  # a family of 300-frame clips takes 6 of them
    return plan_shards(root / "catalog.parquet", load_config(ShardsConfig, "shards/pairs.yaml", settings), out)


class Ours:
    """Our way, by one worker in this process: CPU-seconds by stage, all else under `rest`, and samples stored."""

    def __init__(self, plan: Plan) -> None:
        self.maker, self.seconds, self.stored = UnitMaker(plan), Counter[str](), 0
        self.maker.tools.detector.detect(
            [np.zeros((720, 1280, 3), np.uint8)]
        )  # weights are read once in a worker's life

    def unit(self, unit: Unit) -> None:
        start = time.process_time()
        report = self.maker(UnitTask(unit), lambda progress: None)
        spent = time.process_time() - start
        self.seconds.update(report.seconds | {"rest": spent - sum(report.seconds.values())})
        self.stored += report.stored


@dataclass(frozen=True)
class Cost:
    """What a way cost: CPU-seconds by stage, and the samples that it stored."""

    seconds: Counter[str]
    stored: int

    def each(self, *, but: str = "") -> float:
        """CPU-ms a stored sample, without one stage."""
        return 1e3 * (self.seconds.total() - self.seconds[but]) / self.stored

    def line(self, title: str) -> str:
        parts = ", ".join(f"{stage} {1e3 * value / self.stored:.1f}" for stage, value in self.seconds.most_common())
        return f"  {title}: {self.stored} samples, {self.each():.1f} CPU-ms each: {parts}"


def once(clips: list[list[Path]], plan: Plan, out: Path) -> tuple[Cost, Cost, float]:
    """Both ways from nothing, and the CPU-seconds of decoding every frame and nothing else."""
    out.mkdir()
    plain, mine, alone = Straightforward(out), Ours(plan), Counter[str]()
    plain.mtcnn.detect(np.zeros((720, 1280, 3), np.uint8))
    for paths, unit in zip(clips, plan.units, strict=True):
        plain.family(paths)
        mine.unit(unit)
        for path in paths:
            with Clock(alone, "decode"), av.open(str(path)) as container:
                container.streams.video[0].thread_count = 1
                for _ in container.decode(video=0):
                    pass
    return Cost(plain.seconds, plain.stored), Cost(mine.seconds, mine.stored), alone.total()


def compare(size: str, options: argparse.Namespace, root: Path) -> None:
    what, clips = make_families(root, size, options.frames, options.families)
    print(
        f"\n{size}: {len(clips)} families of 1 + 4 clips of {options.frames} frames; {what}; H.264 4:2:0; {machine()}"
    )
    ratios: list[tuple[float, float]] = []
    costs: list[tuple[Cost, Cost, float]] = []
    for repeat in range(options.repeats):
        plan = planned(root / size, root / f"shards-{size}-{repeat}")
        costs.append(once(clips, plan, root / f"plain-{size}-{repeat}"))
        plain, mine, _ = costs[-1]
        ratios.append((plain.each() / mine.each(), plain.each(but="decode") / mine.each(but="decode")))
        print(f"  repeat {repeat + 1}: {ratios[-1][0]:.1f} times with decoding, {ratios[-1][1]:.1f} times without it, "
              f"load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
    plain, mine, alone = sorted(costs, key=lambda cost: cost[1].each())[len(costs) // 2]
    print(plain.line("straightforward"))
    print(mine.line("mrigan"))
    print(f"  decoding every frame and nothing else: {1e3 * alone / mine.stored:.1f} CPU-ms a sample")
    for i, title in enumerate(("with decoding", "without it")):
        values = [pair[i] for pair in ratios]
        print(f"  {size} {title}: {statistics.median(values):.1f} times fewer CPU-seconds a sample "
              f"({min(values):.1f} to {max(values):.1f})")  # fmt: skip


def many(root: Path, size: str, units: int) -> Path:
    """The families of `size` under as many names as make `units` units."""
    parts = sorted((root / size).glob("dfdc_train_part_*"))
    folder = root / "many"
    for number in range(units):
        part, linked = parts[number % len(parts)], folder / f"dfdc_train_part_{number}"
        linked.mkdir(parents=True)
        for path in part.glob("*.mp4"):
            os.link(path, linked / f"c{number}{path.name}")
        rows = json.loads((part / "metadata.json").read_text())
        renamed = {f"c{number}{name}": row for name, row in rows.items()}
        for row in renamed.values():
            row.update({"original": f"c{number}{row['original']}"} if "original" in row else {})
        (linked / "metadata.json").write_text(json.dumps(renamed))
    return folder


def scaling(root: Path, options: argparse.Namespace) -> None:
    """Work a wall second and a CPU-second, of whole builds by so many workers, from the start of the processes on."""
    size = options.sizes[0]
    if not (root / size).is_dir():
        make_families(root, size, options.frames, options.families)
    videos = many(root, size, 8 * max(options.workers))
    build_shards(planned(videos, root / "warm-up").folder, max(options.workers))  # imports, page cache
    built: dict[int, list[Summary]] = {workers: [] for workers in options.workers}
    print(f"\nworkers: {8 * max(options.workers)} families of {size}; {machine()}")
    for repeat in range(options.repeats):
        for workers, summaries in built.items():
            plan = planned(videos, root / f"workers-{workers}-{repeat}")
            summaries.append(build_shards(plan.folder, workers))
            done = summaries[-1]
            print(f"  {workers}: {done.wall:.1f} s, {done.built / done.wall:.1f} samples/s, "
                  f"{1e3 * done.seconds.total() / done.built:.1f} CPU-ms a sample, load {os.getloadavg()[0]:.1f}",
                  flush=True)  # fmt: skip
    first = options.workers[0]
    walls = {n: statistics.median(s.wall for s in summaries) for n, summaries in built.items()}
    cpus = {n: statistics.median(s.seconds.total() / s.built for s in summaries) for n, summaries in built.items()}
    for n in options.workers[1:]:
        times = walls[first] / walls[n]
        print(f"  {n} workers: {times:.2f} times as fast as {first} ({100 * times * first / n:.0f} % of linear), "
              f"{100 * cpus[first] / cpus[n]:.0f} % of the work a CPU-second")  # fmt: skip


def machine() -> str:
    """What this runs on, and how busy it is."""
    cores = len(os.sched_getaffinity(0))
    name = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                 if line.startswith("model name")), platform.machine())  # fmt: skip
    return f"{cores} cores of {name}, load {os.getloadavg()[0]:.1f}"


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("compare", "workers", "all"), default="all")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--families", type=int, choices=(1, 2, 3), default=2, help="different ones, at most 3 (2)")
    parser.add_argument("--frames", type=positive, default=150, help="of a clip (150)")
    parser.add_argument("--repeats", type=positive, default=3, help="the median counts (3)")
    parser.add_argument("--workers", type=positive, nargs="+", default=[1, 2], help="processes to compare (1 2)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes if options.part != "workers" else ():
            compare(size, options, Path(temporary))
        if options.part != "compare":
            scaling(Path(temporary), options)


if __name__ == "__main__":
    main()
