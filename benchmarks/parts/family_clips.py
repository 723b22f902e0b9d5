"""Families of clips to measure with: one original and four fakes each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from mrigan.config import FacesConfig
from mrigan.sample import make_sample
from mrigan.video import FaceDetector, expand_box, read_frames

RESEARCH = Path(__file__).parents[3] / "shared" / "data"
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
