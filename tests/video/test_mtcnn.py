"""The cascade finds what facenet-pytorch's finds: the same candidates, boxes, probabilities and points."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils.detect_face import detect_face
from skimage import data
from torch.nn.functional import interpolate, max_pool2d

from mrigan.video import read_frames
from mrigan.video.areas import OutsideError, averages, crops, summed
from mrigan.video.mtcnn import Cascade, _pooled
from mrigan.video.mtcnn_networks import load_networks

STRICT, LENIENT = (0.85, 0.95, 0.95), (0.5, 0.4, 0.3)


@pytest.fixture(scope="module")
def nets() -> MTCNN:
    return MTCNN().eval()


def pictures() -> dict[str, np.ndarray]:
    """One face, many, at the edge, odd and narrow sizes, noise, nothing."""
    rng = np.random.default_rng(0)
    portrait = data.astronaut()
    many = np.full((420, 637, 3), 127, np.uint8)
    for x, y, size in ((10, 20, 120), (150, 10, 200), (380, 20, 250), (20, 240, 160), (260, 230, 90)):
        many[y : y + size, x : x + size] = cv2.resize(portrait[30:230, 130:330], (size, size), cv2.INTER_AREA)
    return {
        "portrait": portrait,
        "many": many,
        "edge": np.ascontiguousarray(portrait[90:300, 195:400]),
        "small": cv2.resize(portrait, (61, 47), interpolation=cv2.INTER_AREA),
        "narrow": np.ascontiguousarray(portrait[:, 180:221]),
        "noise": rng.integers(0, 256, (120, 161, 3), dtype=np.uint8),
        "black": np.zeros((64, 64, 3), np.uint8),
    }


def by_library(nets: MTCNN, images: np.ndarray, thresholds: tuple[float, ...], min_face: int) -> list[np.ndarray]:
    """(n, 15) for each picture: box, probability, points."""
    with torch.inference_mode():
        boxes, points = detect_face(
            images, min_face, nets.pnet, nets.rnet, nets.onet, list(thresholds), 0.709, torch.device("cpu")
        )
    rows = zip(boxes, points, strict=True)
    return [np.hstack([np.reshape(b, (-1, 5)), np.reshape(p, (-1, 10))]).astype(float) for b, p in rows]


def by_us(images: np.ndarray, thresholds: tuple[float, ...], min_face: int) -> list[np.ndarray]:
    cascade = Cascade(load_networks(), min_face, thresholds, 0.709)
    return [np.hstack([b, p.reshape(-1, 10)]).astype(float) for b, p in cascade(torch.from_numpy(images))]


@pytest.mark.parametrize("name", pictures())
@pytest.mark.parametrize(("thresholds", "min_face"), [(STRICT, 20), (LENIENT, 20), (STRICT, 37)])
def test_the_faces_are_those_of_the_library(nets: MTCNN, name: str, thresholds: tuple, min_face: int) -> None:
    images = pictures()[name][None]
    try:
        (theirs,) = by_library(nets, images, thresholds, min_face)
    except (IndexError, RuntimeError):  # a candidate left the picture: facenet-pytorch fails on its lists' lengths
        with pytest.raises(OutsideError):
            by_us(images, thresholds, min_face)
        return
    (ours,) = by_us(images, thresholds, min_face)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    if name == "many":
        assert len(ours) >= 5


def test_a_batch_finds_in_each_picture_what_it_finds_alone(nets: MTCNN) -> None:
    portrait = data.astronaut()
    batch = np.stack([portrait, portrait[:, ::-1], np.zeros_like(portrait), np.roll(portrait, 40, 0)])
    together = by_us(batch, STRICT, 20)
    assert [len(faces) for faces in together] == [1, 1, 0, 1]
    for faces, image, theirs in zip(together, batch, by_library(nets, batch, STRICT, 20), strict=True):
        np.testing.assert_allclose(faces, by_us(image[None], STRICT, 20)[0], atol=1e-3)
        np.testing.assert_allclose(faces, theirs, atol=1e-3)


@pytest.mark.parametrize("name", ["many", "portrait"])
def test_what_float32_rounds_off_moves_no_face(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processors have other last bits. Here they are a thousand times larger, and so is the doubt."""
    images = torch.from_numpy(pictures()[name][None])
    cascade = Cascade(load_networks(), 20, LENIENT, 0.709)
    ((boxes, points),) = cascade(images)
    monkeypatch.setattr("mrigan.video.mtcnn.DOUBT", 1e-2)
    weight, bias = cascade.corners
    cascade.corners = weight, bias + 3e-3
    with torch.no_grad():
        cascade.rnet.dense5_2.bias -= 3e-3
    ((found, five),) = cascade(images)
    np.testing.assert_allclose(found, boxes, rtol=0, atol=1e-9)
    np.testing.assert_allclose(five, points, rtol=0, atol=1e-9)


def test_the_summed_area_table_gives_the_averages_of_torch() -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 97, 140, 3), dtype=np.uint8)
    table = summed(torch.from_numpy(images))
    np.testing.assert_array_equal(table[:, -1, -1, :3], images.sum((1, 2)))
    plain = torch.from_numpy(images).permute(0, 3, 1, 2).float()

    def wanted(part: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return (interpolate(part, size, mode="area") - 127.5) * 0.0078125

    short = table.numpy().astype(np.uint16)  # has room for all but the last size's sums
    for size in ((58, 84), (97, 140), (13, 12), (12, 200), (3, 4)):
        for found in (averages(table, *size), averages(table, *size, short)):
            torch.testing.assert_close(found, wanted(plain, size), atol=1e-6, rtol=0)
    boxes = torch.tensor([[1, 1, 97, 97, 1], [-5.7, 3.2, 30.9, 40.1, 1], [100, 60, 180, 140.5, 1], [50, 50, 51, 52, 1]])
    owner = torch.tensor([0, 1, 1, 0])
    cut = crops(table, boxes, owner, (140, 97), 24)
    windows = [(0, 0, 97, 97), (0, 2, 30, 40), (99, 59, 140, 97), (49, 49, 51, 52)]
    for crop, i, (x0, y0, x1, y1) in zip(cut, owner, windows, strict=True):
        torch.testing.assert_close(crop[None], wanted(plain[i : i + 1, :, y0:y1, x0:x1], (24, 24)), atol=1e-6, rtol=0)
    for outside in ([-30, 4, -2, 30, 1], [4, 120, 30, 140, 1]):
        with pytest.raises(OutsideError):
            crops(table, torch.tensor([outside]), owner[:1], (140, 97), 24)


def test_a_large_picture_does_not_run_over() -> None:
    white = torch.full((1, 3000, 3200, 3), 255, dtype=torch.uint8)
    torch.testing.assert_close(averages(summed(white), 7, 9), torch.full((1, 3, 7, 9), 127.5 * 0.0078125))


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("size", [(22, 22), (9, 10), (46, 45), (3, 4), (5, 3)])
def test_pooling_is_that_of_torch(kernel: int, size: tuple[int, int]) -> None:
    x = torch.randn(2, 7, *size)
    for layout in (torch.contiguous_format, torch.channels_last):
        y = x.contiguous(memory_format=layout)
        before = y.clone()
        torch.testing.assert_close(_pooled(y, kernel), max_pool2d(x, kernel, 2, ceil_mode=True), atol=0, rtol=0)
        torch.testing.assert_close(y, before, atol=0, rtol=0)  # the input is left as it was


@pytest.mark.shared_data
def test_real_frames(nets: MTCNN, shared_data: Path) -> None:
    found = 0
    for name in ("faceforensics/original_sequences/youtube/c40/videos/481.mp4", "ghost/orig.webm"):
        for frame in read_frames(shared_data / name, indices=[0, 40]):
            image = cv2.resize(frame.image, (512, 300), interpolation=cv2.INTER_AREA)[None]
            (ours,), (theirs,) = by_us(image, STRICT, 20), by_library(nets, image, STRICT, 20)
            np.testing.assert_allclose(ours, theirs, atol=1e-3)
            found += len(ours)
    assert found >= 4
