"""Faces in frames by MTCNN (weights ship with facenet-pytorch), in native pixels of the displayed frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mrigan.config import FacesConfig
from mrigan.errors import ConfigError
from mrigan.imaging.coordinates import on_grid
from mrigan.imaging.picture import Picture, is_array, scale_to
from mrigan.video.face import PROB_GRID, Detection, FaceTable
from mrigan.video.frames import BrokenVideo, Frame
from mrigan.video.tracks import Tracker

INFERENCE_THRESHOLDS = (0.7, 0.8, 0.8)  # the DFDC winner's, for verdicts: a missed face costs more than a false one
BATCH = 32  # frames in one GPU pass
CPU_BATCH = 6  # frames in one pass on a CPU: a third cheaper than one by one; of more, the heap is given back each time
PADDING = 64  # px


class FaceDetector:
    """MTCNN with the settings of `FacesConfig`; the same pictures give the same boxes.

    Args:
        device: `cpu`, or `cuda` with an index or without.
        thresholds: of P-, R- and O-Net instead of the config's, e.g. `INFERENCE_THRESHOLDS`.

    Raises:
        ConfigError: there is no GPU.
    """

    def __init__(self, config: FacesConfig, device: str = "cpu", thresholds: Sequence[float] | None = None) -> None:
        import torch

        from mrigan.video.mtcnn import Cascade
        from mrigan.video.mtcnn_networks import load_networks

        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError("torch finds no GPU", where="video.device", fix="video.device=cpu, or a node with a GPU")
        self.config = config
        self.device = device
        self.batch = CPU_BATCH if device == "cpu" else BATCH  # frames in one pass
        levels = list(thresholds or config.thresholds)
        self.cascade = Cascade(load_networks(device), config.min_face, levels, config.factor)

    def detect(self, images: Sequence[Picture]) -> list[list[Detection]]:
        """Find the faces of each (H, W, 3) uint8 RGB picture: largest first, at most `max_persons`.

        Pictures of one size share a pass, up to `batch` of them.
        """
        small = [self._shrink(image) for image in images]
        found: list[list[Detection]] = [[] for _ in images]
        for group in self._groups(small):
            for i, (boxes, points) in zip(group, self._run([small[i] for i in group]), strict=True):
                found[i] = self._native(boxes, points, small[i].shape, images[i].shape)
        return found

    def _shrink(self, image: Picture) -> Picture:
        h, w = (max(int(side / self.config.shrink), 1) for side in image.shape[:2])
        long_side = self.config.long_side
        if long_side and max(h, w) > long_side:
            scale = long_side / max(h, w)
            w, h = max(round(w * scale), 1), max(round(h * scale), 1)
        return image if (h, w) == tuple(image.shape[:2]) else scale_to(image, (w, h))

    def _groups(self, images: Sequence[Picture]) -> Iterator[list[int]]:
        sizes: dict[tuple[int, ...], list[int]] = {}
        for i, image in enumerate(images):
            sizes.setdefault(image.shape, []).append(i)
        for group in sizes.values():
            yield from (group[i : i + self.batch] for i in range(0, len(group), self.batch))

    def _run(self, images: list[Picture]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes (n, 5) with probability and points (n, 5, 2) of pictures of one size."""
        from mrigan.video.areas import OutsideError

        if min(images[0].shape[:2]) < self.config.min_face:
            return [(np.zeros((0, 5)), np.zeros((0, 5, 2)))] * len(images)  # no level in the image pyramid
        try:
            return self._mtcnn(images)
        except OutsideError:
            if len(images) > 1:  # the others shall get the boxes that they get without it
                return [self._run([image])[0] for image in images]
        boxes, points = self._mtcnn([_framed(images[0])])[0]  # with a border no candidate leaves the picture
        return [(boxes - [PADDING, PADDING, PADDING, PADDING, 0], points - PADDING)]

    def _mtcnn(self, images: list[Picture]) -> list[tuple[np.ndarray, np.ndarray]]:
        import torch

        stacked = torch.from_numpy(np.stack(images)) if is_array(images[0]) else torch.stack(images)
        found = self.cascade(stacked.to(self.device))
        return [(boxes.astype(np.float64), points.astype(np.float64)) for boxes, points in found]

    def _native(
        self, boxes: np.ndarray, points: np.ndarray, small: tuple[int, ...], native: tuple[int, ...]
    ) -> list[Detection]:
        """Scale back to native px, round to the grid, clip to the picture, drop what is degenerate, order by size."""
        h, w = native[:2]
        scale = np.array([w / small[1], h / small[0]])
        found = []
        for box, five in zip(boxes, points, strict=True):
            if not (np.isfinite(box).all() and np.isfinite(five).all()):
                continue
            x0, y0 = np.clip(on_grid(box[:2] * scale), 0, (w, h))
            x1, y1 = np.clip(on_grid(box[2:4] * scale), 0, (w, h))
            if int(x1) - int(x0) < 2 or int(y1) - int(y0) < 2:
                continue
            corners = (float(x0), float(y0), float(x1), float(y1))
            places = on_grid(five * scale)
            prob = float(on_grid(box[4], PROB_GRID))
            found.append(Detection(corners, prob, tuple((float(x), float(y)) for x, y in places)))
        found.sort(key=lambda d: (-d.area, d.box))
        return found[: self.config.max_persons]


def _framed(image: Picture) -> Picture:
    """A picture with a black border of `PADDING` px."""
    if is_array(image):
        return np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    from torch.nn.functional import pad

    return pad(image, (0, 0, PADDING, PADDING, PADDING, PADDING))


def find_faces(frames: Iterable[Frame], detector: FaceDetector) -> FaceTable:
    """Detect in every frame and follow the faces, so that `person` is one person through the clip.

    A clip that is cut off gives the faces of its good frames and a `note`. Holds at most one batch of frames.

    Raises:
        InputError: what `read_frames` raises before the first frame.
    """
    tracker = Tracker()
    seen = 0
    size = (0, 0)
    note = ""
    chunk: list[Frame] = []

    def look() -> None:
        for frame, detections in zip(chunk, detector.detect([f.image for f in chunk]), strict=True):
            tracker.add(frame.index, frame.time, detections, frame.image)
        chunk.clear()

    try:
        for frame in frames:
            if not seen:
                size = frame.image.shape[1], frame.image.shape[0]
            seen += 1
            chunk.append(frame)
            if len(chunk) == detector.batch:
                look()
    except BrokenVideo as error:
        note = error.what
    look()
    return FaceTable(tracker.faces(), seen, size, note)
