"""CPU-seconds a stored sample beside the straightforward way: `python benchmarks/families.py [FRAMES] [FAMILIES]`.

Families of one original and four fakes, H.264 (x264's defaults, 4:2:0), 720p and 1080p. Where the research videos lie
beside the project: at 720p FaceForensics++ with its four methods, at 1080p originals of DFDC with fakes made here; else
the people of the embedded sample, enlarged. Faces are found by the real MTCNN in both ways.

The straightforward way: each clip is decoded and searched for faces by itself, at full size, on every 10th frame, by
facenet-pytorch; scikit-image's SSIM of the fake's face and the original's; PNG files. One thread in both ways.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from skimage.metrics import structural_similarity

from mrigan.catalog import scan_catalog, write_catalog
from mrigan.config import FacesConfig, ShardsConfig, load_config
from mrigan.packing import Plan, Unit, build_shards, plan_shards
from mrigan.packing.dispatch import Job
from mrigan.packing.unit import UnitMaker
from mrigan.sample import make_sample
from mrigan.video import FaceDetector, expand_box, read_frames

ROOT = Path(__file__).parents[1]
RESEARCH = ROOT.parent / "shared" / "data"
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
FACES = FacesConfig()


def clips_of(size: str, folder: Path) -> tuple[str, Iterator[list[Iterator[np.ndarray]]]]:
    """What the families are made of, and for each family the pictures of its five clips, the original's first."""
    ff, dfdc = RESEARCH / "faceforensics", RESEARCH / "dfdc" / "dfdc_train_part_0"
    if size == "720p" and ff.is_dir():
        return "FaceForensics++", (
            [
                pictures(ff / f"original_sequences/youtube/c40/videos/{target}.mp4"),
                *(pictures(ff / f"manipulated_sequences/{m}/c40/videos/{target}_{donor}.mp4") for m in METHODS),
            ]
            for target, donor in (("481", "469"), ("253", "183"), ("183", "253"))
        )
    if size == "1080p" and dfdc.is_dir():
        return "DFDC with fakes made here", (
            [pictures(path), *(forged(path, kind) for kind in range(4))] for path in sorted(dfdc.glob("a*.mp4"))
        )
    sample = make_sample(folder / "sample", people=4)
    marker = json.loads((sample / "sample.json").read_text())["clips"]
    people = sorted({about["person"] for about in marker.values()})
    order = ("original", "self", "poisson", "paste", "generator")
    return "the embedded sample, enlarged", (
        [
            pictures(sample / name)
            for kind in order
            for name, about in marker.items()
            if about == {"person": person, "kind": kind}
        ]
        for person in people
    )


def pictures(path: Path) -> Iterator[np.ndarray]:
    return (frame.image for frame in read_frames(path, every=1))


def forged(path: Path, kind: int) -> Iterator[np.ndarray]:
    """The faces of a clip seen through a soft oval in one of four other ways."""
    detector, faces = FaceDetector(FACES), []
    for i, image in enumerate(pictures(path)):
        if i % 10 == 0:
            faces = detector.detect([image])[0] or faces
        out = image.copy()
        for face in faces:
            x0, y0, x1, y1 = expand_box(face.box, 0.05, (image.shape[1], image.shape[0]))
            part = image[y0:y1, x0:x1]
            h, w = part.shape[:2]
            other = (
                cv2.GaussianBlur(part, (0, 0), w / 60),
                np.roll(part, (h // 40, w // 30), (0, 1)),
                cv2.convertScaleAbs(part, alpha=0.85, beta=14),
                cv2.resize(cv2.resize(part, (48, 64), interpolation=cv2.INTER_AREA), (w, h)),
            )[kind]
            seen = np.zeros((h, w), np.float32)
            cv2.ellipse(seen, (w // 2, h // 2), (w * 2 // 5, h * 2 // 5), 0, 0, 360, 1.0, -1)
            seen = cv2.GaussianBlur(seen, (0, 0), w / 20)[..., None]
            out[y0:y1, x0:x1] = part + seen * (other.astype(np.float32) - part)
        yield out


def encode(path: Path, images: Iterator[np.ndarray], size: tuple[int, int], frames: int) -> None:
    """Write a clip as ffmpeg does by itself: x264, crf 23, three B-frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "medium", "crf": "23", "threads": "1"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for image in islice(images, frames):
            whole = image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="rgb24")))
        container.mux(stream.encode())


def make_families(root: Path, size: str, frames: int, families: int) -> tuple[str, list[list[Path]]]:
    """Clips in DFDC's layout, a part a family."""
    made, groups = [], clips_of(size, root)
    for number, clips in enumerate(islice(groups[1], families)):
        part = root / size / f"dfdc_train_part_{number}"
        part.mkdir(parents=True)
        paths = [part / f"{name}{number}.mp4" for name in ("original", "a", "b", "c", "d")]
        for path, images in zip(paths, clips, strict=True):
            encode(path, images, SIZES[size], frames)
        rows = {path.name: {"label": "FAKE", "split": "train", "original": paths[0].name} for path in paths[1:]}
        (part / "metadata.json").write_text(json.dumps({paths[0].name: {"label": "REAL", "split": "train"}} | rows))
        made.append(paths)
    return groups[0], made


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
    settings = ["pack.shard_samples=1", "pack.splits=[train,val,test]"]
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
        report = self.maker(Job(unit), lambda progress: None)
        spent = time.process_time() - start
        self.seconds.update(report.seconds | {"rest": spent - sum(report.seconds.values())})
        self.stored += report.stored


def table(title: str, seconds: Counter[str], stored: int) -> None:
    total = seconds.total()
    print(f"  {title}: {stored} samples, {1e3 * total / stored:.1f} CPU-ms each")
    parts = (f"{stage} {1e3 * value / stored:.1f}" for stage, value in seconds.most_common())
    print(f"    {', '.join(parts)}")


def compare(size: str, frames: int, families: int, root: Path) -> None:
    what, clips = make_families(root, size, frames, families)
    print(f"\n{size}: {families} families of 1 + 4 clips of {frames} frames; {what}; H.264 4:2:0")
    (root / f"plain-{size}").mkdir()
    plain = Straightforward(root / f"plain-{size}")
    plain.mtcnn.detect(np.zeros((720, 1280, 3), np.uint8))
    plan, alone = planned(root / size, root / f"shards-{size}"), Counter[str]()
    mine = Ours(plan)
    for paths, unit in zip(clips, plan.units, strict=True):  # by turns: what else runs on the machine changes
        plain.family(paths)
        mine.unit(unit)
        for path in paths:
            with Clock(alone, "decode"), av.open(str(path)) as container:
                container.streams.video[0].thread_count = 1
                for _ in container.decode(video=0):
                    pass
    seconds, stored = mine.seconds, mine.stored
    table("straightforward", plain.seconds, plain.stored)
    table("mrigan", seconds, stored)
    print(f"  decoding every frame and nothing else: {1e3 * alone.total() / stored:.1f} CPU-ms a sample")
    with_decoding = plain.seconds.total() / plain.stored / (seconds.total() / stored)
    without = (plain.seconds.total() - plain.seconds["decode"]) / plain.stored
    without /= (seconds.total() - seconds["decode"]) / stored
    print(f"  fewer CPU-seconds a sample: {with_decoding:.1f} times with decoding, {without:.1f} times without it")


def scaling(root: Path, size: str, copies: int) -> None:
    """Wall time of a whole build by one worker and by two, from the start of the processes on."""
    many = root / "many"
    for copy in range(copies):
        for part in sorted((root / size).glob("dfdc_train_part_*")):
            linked = many / f"dfdc_train_part_{len(list(many.glob('*')))}"
            linked.mkdir(parents=True)
            for path in part.glob("*.mp4"):
                os.link(path, linked / f"c{copy}{path.name}")
            rows = json.loads((part / "metadata.json").read_text())
            renamed = {f"c{copy}{name}": row for name, row in rows.items()}
            for row in renamed.values():
                row.update({"original": f"c{copy}{row['original']}"} if "original" in row else {})
            (linked / "metadata.json").write_text(json.dumps(renamed))
    walls = {}
    for workers in (1, 2):
        plan = planned(many, root / f"workers-{workers}")
        if workers == 1:
            print(
                f"\nworkers: {len(plan.units)} units of {size}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
            )
        start = time.process_time()
        summary = build_shards(plan.folder, workers)
        walls[workers] = summary.wall
        alone = time.process_time() - start
        cpu = 1e3 * summary.seconds.total() / summary.built
        print(f"  {workers}: {summary.wall:.1f} s, {summary.built / summary.wall:.1f} samples/s; "
              f"{cpu:.1f} CPU-ms a sample in the workers, {1e3 * alone / summary.built:.1f} beside them")  # fmt: skip
    print(f"  two are {walls[1] / walls[2]:.2f} times as fast as one")


def main(frames: int = 150, families: int = 2) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for size in SIZES:
            compare(size, frames, families, root)
        scaling(root, "720p", copies=4)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
