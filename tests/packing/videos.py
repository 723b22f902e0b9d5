"""A small data set of real video files: two portraits that installed packages ship, in motion, and fakes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from skimage.data import astronaut

from mrigan.catalog import Catalog, Clip, clip_id, write_catalog
from tests.clips import counter_frames, write_clip

SIZE = (320, 240)
SHARP = {"crf": "10", "preset": "ultrafast"}


@dataclass(frozen=True)
class Portrait:
    """A still and the place of its face in it, px: what the camera moves over."""

    image: np.ndarray
    face: tuple[int, int, int, int]

    def frames(self, count: int, forged: bool = False, start: int = 0, shift: int = 0) -> list[np.ndarray]:
        """`count` frames (240, 320, 3) of a camera that pans, from moment `start`; all of it `shift` px off."""
        image = self.forged() if forged else self.image
        x, y = self.face[0] - 110 + shift, max(self.face[1] - 50, 0)
        w, h = SIZE
        return [np.ascontiguousarray(image[y + i // 2 : y + i // 2 + h, x + i : x + i + w])
                for i in range(start, start + count)]  # fmt: skip

    def forged(self) -> np.ndarray:
        """Another expression and hue, blended through a soft ellipse inside the face."""
        x0, y0, x1, y1 = self.face
        mask = np.zeros(self.image.shape[:2], np.float32)
        cv2.ellipse(mask, ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 3, (y1 - y0) // 3), 0, 0, 360, 1.0, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), 4)[..., None]
        other = cv2.GaussianBlur(np.roll(self.image, (3, 2), (0, 1)), (0, 0), 1.5).astype(np.float32) * (1.1, 0.9, 0.8)
        return np.clip(self.image * (1 - mask) + other * mask, 0, 255).astype(np.uint8)

    def mirrored(self) -> Portrait:
        x0, y0, x1, y1 = self.face
        w = self.image.shape[1]
        return Portrait(np.ascontiguousarray(self.image[:, ::-1]), (w - x1, y0, w - x0, y1))


def portraits() -> list[Portrait]:
    """Eileen Collins and Grace Hopper, both in the public domain, with faces about 90 px wide."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    hopper = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    hopper = cv2.copyMakeBorder(cv2.resize(hopper, (256, 300), interpolation=cv2.INTER_AREA), 0, 0, 100, 100,
                                cv2.BORDER_REFLECT)  # fmt: skip
    return [Portrait(astronaut(), (179, 64, 266, 173)), Portrait(hopper, (187, 56, 276, 167))]


def write_videos(root: Path, catalog: Path) -> Catalog:
    """Ten families with all that happens to real ones; the catalog's rows say what is the matter by name."""
    root.mkdir(parents=True, exist_ok=True)
    clips: list[Clip] = []

    def add(name: str, frames: list[np.ndarray] | bytes, split: str, original: str | None = None, *,
            method: str = "swap", fake: bool = False, movflags: str = "") -> Path:  # fmt: skip
        path = root / f"{name}.mp4"
        if isinstance(frames, bytes):
            path.write_bytes(frames)
        else:
            write_clip(path, frames, options=SHARP, movflags=movflags)
        fake = fake or original is not None
        source = clip_id("toy", "original", "", original) if original else None
        clips.append(Clip("toy", method if fake else "original", "", name, path.name, "fake" if fake else "real",
                          original=source, split=split))  # fmt: skip
        return path

    collins, hopper = portraits()
    add("collins", collins.frames(31), "train")
    add("collins-swap", collins.frames(31, forged=True), "train", "collins")
    add("collins-same", collins.frames(31), "train", "collins", method="sound")
    add("collins-shifted", collins.frames(31, forged=True, shift=9), "train", "collins", method="misaligned")
    add("collins-late", collins.frames(31, forged=True, start=1), "train", "collins", method="late")
    add("hopper", hopper.frames(21), "train")
    add("hopper-swap", hopper.frames(21, forged=True), "train", "hopper")
    add("hopper-empty", b"", "train", "hopper")
    cut = add("hopper-cut", hopper.frames(21, forged=True), "train", "hopper", movflags="faststart")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 7 // 10])
    add("broken", b"this is no video" * 100, "train")
    add("broken-swap", hopper.frames(11, forged=True), "train", "broken")
    add("blank", counter_frames(11, SIZE), "train")
    add("blank-swap", counter_frames(11, SIZE)[::-1], "train", "blank")
    add("orphan", hopper.mirrored().frames(11, forged=True), "train", fake=True)
    add("smith", collins.mirrored().frames(21), "val")
    add("smith-swap", collins.mirrored().frames(21, forged=True), "val", "smith")
    for path in root.iterdir():
        path.chmod(0o444)
    result = Catalog(root, clips)
    write_catalog(result, catalog)
    return result
