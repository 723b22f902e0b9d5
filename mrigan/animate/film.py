"""Film a stage: the frames of a clip as a camera records them, and their H.264, once or twice."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import av
import cv2
import numpy as np

from mrigan.animate.scenery import screen
from mrigan.animate.shot import Pass, Shot
from mrigan.animate.stage import Stage

COARSE = 4  # px between the places that are computed; those between are interpolated
NOISE_ROOM = 64  # px, by which the window of the noise's picture moves from frame to frame
CHROMA_NOISE = 0.4  # of the luma's
TURNED = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def film(stage: Stage, shot: Shot, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The frames before any compression, (H · 3 / 2, W) uint8: planes Y, U, V, as OpenCV's I420 has them."""
    width, height = shot.framing.view
    noise = _draw_noise(rng, shot)
    around = None if shot.framing.view == shot.framing.size else _around(rng, shot)
    grid = np.stack(
        np.meshgrid(*(np.arange(0, side + 2 * COARSE, COARSE, dtype=np.float32) for side in (width, height))), -1
    )
    for index in range(shot.frames):
        camera = _camera(shot, index, stage.margin)
        pose = {name: float(values[index]) for name, values in shot.head.items()}
        places = _between(stage.head.source(grid @ camera[:, :2].T + camera[:, 2], pose), width, height)
        rest = stage.images[int(shot.blinks[index])]
        image = cv2.remap(rest, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        if stage.behind is not None:
            image = _before(image, stage.behind, camera)
        image = cv2.LUT(_smeared(image, shot, index), _curve(shot, index))
        frame = _noisy(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), noise, rng)
        yield frame if around is None else _in_window(around, frame, shot.framing.corner)


def compress(frames: Iterable[np.ndarray], shot: Shot) -> bytes:
    """An mp4 of the frames, after the shot's passes of H.264; the bytes depend on these alone."""
    data = b""
    for one in shot.passes:
        width, height = (max(round(side * one.scale / 2), 8) * 2 for side in shot.framing.size)
        data = _encode(frames, (width, height), shot.rate, one)
        frames = decode(data)
    return data


def decode(data: bytes) -> Iterator[np.ndarray]:
    """The frames of an mp4, as `film` gives them."""
    with av.open(io.BytesIO(data), "r") as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="yuv420p")


def _camera(shot: Shot, index: int, margin: int) -> np.ndarray:
    """(2, 3) float32: where the canvas's place of a frame's pixel is."""
    x, y, roll, zoom = (float(shot.camera[name][index]) for name in ("x", "y", "roll", "zoom"))
    cos, sin = np.cos(roll) / zoom, np.sin(roll) / zoom
    turn = np.array([[cos, -sin], [sin, cos]]) * ([-1, 1] if shot.mirrored else [1, 1])
    pivot = (np.array(shot.framing.view) - 1) / 2
    return np.column_stack([turn, pivot - turn @ pivot + (x + margin, y + margin)]).astype(np.float32)


def _between(coarse: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """The two maps of cv2.remap for every px of a frame, from the places of every `COARSE`-th."""
    to_coarse = np.array([[1 / COARSE, 0, 0], [0, 1 / COARSE, 0]])
    fine = cv2.warpAffine(coarse, to_coarse, (width, height), flags=TURNED, borderMode=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(fine[..., 0]), np.ascontiguousarray(fine[..., 1])


def _before(person: np.ndarray, behind: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """A person, premultiplied RGB and matte, before what the camera sees behind."""
    far = cv2.warpAffine(behind, camera, person.shape[1::-1], flags=TURNED, borderMode=cv2.BORDER_REFLECT_101)
    through = cv2.cvtColor(255 - person[..., 3], cv2.COLOR_GRAY2RGB)
    return cv2.add(person[..., :3], cv2.multiply(far, through, scale=1 / 255))


def _smeared(image: np.ndarray, shot: Shot, index: int) -> np.ndarray:
    """Motion blur by the camera's motion while the shutter is open, where it is more than a pixel."""
    before = max(index - 1, 0)
    dx, dy = (float(shot.camera[name][index] - shot.camera[name][before]) * shot.shutter for name in "xy")
    if np.hypot(dx, dy) < 1.0:
        return image
    reach = int(np.ceil(max(abs(dx), abs(dy)) / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    sign = -1 if shot.mirrored else 1
    for part in np.linspace(-0.5, 0.5, 8 * reach + 1):
        kernel[round(reach + part * dy), round(reach + part * dx * sign)] += 1
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def _curve(shot: Shot, index: int) -> np.ndarray:
    """(256, 1, 3) uint8: exposure, white balance and contrast of one frame, with a soft shoulder."""
    level = np.linspace(0, 1, 256)[:, None] ** shot.gamma * shot.gains[index]
    level = np.where(level > 0.85, 0.85 + 0.15 * np.tanh((level - 0.85) / 0.15), level)
    return np.rint(np.clip(level, 0, 1) * 255).astype(np.uint8)[:, None]


def _draw_noise(rng: np.random.Generator, shot: Shot) -> list[np.ndarray]:
    """int16 pictures of the sensor's noise for Y, U and V, `NOISE_ROOM` larger than the planes; a little blurred."""
    pictures = []
    for step, share in ((1, 1.0), (2, CHROMA_NOISE), (2, CHROMA_NOISE)):
        size = shot.framing.view[1] // step + NOISE_ROOM, shot.framing.view[0] // step + NOISE_ROOM
        noise = cv2.GaussianBlur(rng.standard_normal(size, np.float32), (0, 0), shot.grain)
        pictures.append(np.rint(noise * (shot.noise * share / noise.std())).astype(np.int16))
    return pictures


def _noisy(frame: np.ndarray, noise: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    row, column = rng.integers(0, NOISE_ROOM, 2)
    for plane, picture in zip(_planes(frame), noise, strict=True):
        cv2.add(plane, picture[row:, column:][: plane.shape[0], : plane.shape[1]], dst=plane, dtype=cv2.CV_8U)
    return frame


def _around(rng: np.random.Generator, shot: Shot) -> np.ndarray:
    framing = shot.framing
    return cv2.cvtColor(screen(rng, framing.size, (*framing.corner, *framing.view)), cv2.COLOR_RGB2YUV_I420)


def _in_window(around: np.ndarray, view: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """A frame with the view as a window in it."""
    frame = around.copy()
    for step, plane, part in zip((1, 2, 2), _planes(frame), _planes(view), strict=True):
        x, y = (side // step for side in corner)
        plane[y : y + part.shape[0], x : x + part.shape[1]] = part
    return frame


def _planes(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views of Y (H, W), U and V (H / 2, W / 2) of an I420 frame."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    chroma = frame[height:].reshape(2, height // 2, width // 2)
    return frame[:height], chroma[0], chroma[1]


def _encode(frames: Iterable[np.ndarray], size: tuple[int, int], rate: int, one: Pass) -> bytes:
    file = io.BytesIO()
    # x264's bytes depend on the number of threads and, with its macroblock tree, on what was in the memory it gets.
    options = {"crf": str(one.crf), "preset": one.preset, "g": str(one.keys), "threads": "1", "mbtree": "0"}
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_resized(frame, size), format="yuv420p")))
        container.mux(stream.encode())
    return file.getvalue()


def _resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    if frame.shape == (height * 3 // 2, width):
        return frame
    result = np.empty((height * 3 // 2, width), np.uint8)
    way = cv2.INTER_AREA if width < frame.shape[1] else cv2.INTER_LINEAR
    for plane, target in zip(_planes(frame), _planes(result), strict=True):
        target[:] = cv2.resize(plane, target.shape[::-1], interpolation=way)
    return result
