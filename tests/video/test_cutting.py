"""The ways of cutting a face that published detectors were trained with, beside straightforward versions of them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import SimilarityTransform
from torchvision.transforms import functional as TF

from mrigan.config import FacesConfig
from mrigan.imaging.picture import to_device
from mrigan.video import cut_face, expand_box, resize_face
from mrigan.video.crops import alignment
from mrigan.video.sampling import evenly

PICTURE = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (240, 320, 3), dtype=np.uint8), (7, 7), 2)
EYES_NOSE_MOUTH = [(120.3, 88.1), (168.9, 95.4), (141.0, 118.2), (118.7, 139.9), (158.2, 145.6)]


def test_a_margin_of_a_third_is_the_whole_third() -> None:
    """As in whole numbers (`side // 3`): 1 / 3 is not exact, and must not lose a pixel."""
    for side in range(1, 5000):
        assert expand_box((5000, 5000, 5000 + side, 5001), 1 / 3, (20_000, 20_000))[0] == 5000 - side // 3


def test_a_widened_box_holds_all_that_it_was_widened_to() -> None:
    box = (100.9, 50.2, 200.7, 150.0)
    assert expand_box(box, 0.125, (640, 480), "widen") == (88, 37, 214, 163)
    assert expand_box(box, 0.125, (640, 480)) == (88, 38, 212, 162)
    assert expand_box((2.0, 3.0, 98.0, 97.0), 0.125, (100, 99), "widen") == (0, 0, 100, 99)


@pytest.mark.parametrize(("height", "width"), [(200, 150), (100, 173), (90, 90), (380, 200), (31, 7)])
def test_a_letterboxed_face_keeps_its_shape_and_is_centred_on_black(height: int, width: int) -> None:
    face = np.maximum(PICTURE[:height, :width], 1)
    face = cv2.resize(face, (width, height))
    size = 128
    out = resize_face(face, size, "letterbox")
    assert out.shape == (size, size, 3)
    scale = size / max(height, width)
    inner = cv2.resize(face, (int(width * scale), int(height * scale)), None, 0, 0,
                       cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)  # fmt: skip
    top, left = (size - inner.shape[0]) // 2, (size - inner.shape[1]) // 2
    np.testing.assert_array_equal(out[top : top + inner.shape[0], left : left + inner.shape[1]], inner)
    beside = out.copy()
    beside[top : top + inner.shape[0], left : left + inner.shape[1]] = 0
    assert not beside.any()
    assert max(inner.shape[:2]) == size


def test_antialiased_is_what_torchvision_does_to_a_picture() -> None:
    face = PICTURE[10:200, 30:190]
    np.testing.assert_array_equal(
        resize_face(face, 64, "antialiased"), np.asarray(TF.resize(Image.fromarray(face), [64, 64]))
    )
    np.testing.assert_array_equal(resize_face(face, 64, "linear"), cv2.resize(face, (64, 64)))
    assert (resize_face(face, 64, "linear") != resize_face(face, 64, "antialiased")).any()


def test_an_aligned_face_is_warped_by_the_best_similarity() -> None:
    """scikit-image finds it by a decomposition; the template is that of 112 px, enlarged, with more around it."""
    size, scale = 256, 1.3
    template = np.array([[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655],
                         [62.7299, 92.2041]])  # fmt: skip
    template[:, 0] += 8
    goal = (template * size / 112 + size * 0.15) * (size / (size + 2 * size * 0.15))
    matrix = SimilarityTransform.from_estimate(np.array(EYES_NOSE_MOUTH), goal).params[:2]
    np.testing.assert_allclose(alignment(EYES_NOSE_MOUTH, size, scale), matrix, atol=1e-9)
    config = FacesConfig(align="points5", align_scale=scale, size=size)
    face = cut_face(PICTURE, (100, 60, 190, 170), config, EYES_NOSE_MOUTH)
    np.testing.assert_array_equal(face, cv2.warpAffine(PICTURE, matrix, (size, size)))


def test_an_aligned_face_has_level_eyes_wherever_the_head_is_turned() -> None:
    config = FacesConfig(align="points5", size=112, align_scale=1.0)
    marks = np.zeros((400, 400, 3), np.uint8)
    turned = [(200 + 2 * (0.8 * x - 0.6 * y), 200 + 2 * (0.6 * x + 0.8 * y))
              for x, y in ((-17.6, -10), (17.6, -10), (0, 10), (-14.6, 31), (14.6, 31))]  # fmt: skip
    for x, y in turned[:2]:
        cv2.circle(marks, (round(x), round(y)), 4, (255, 255, 255), -1)
    out = cut_face(marks, (100, 100, 300, 300), config, turned)
    rows, columns = np.nonzero(out[..., 0] > 128)
    left, right = columns < 56, columns >= 56
    assert abs(rows[left].mean() - rows[right].mean()) < 1
    assert columns[right].mean() - columns[left].mean() == pytest.approx(35.2, abs=1.5)


def test_without_points_the_box_is_cut() -> None:
    config = FacesConfig(align="points5", size=64)
    plain = replace(config, align="none")
    np.testing.assert_array_equal(cut_face(PICTURE, (50, 50, 90, 90), config),
                                  cut_face(PICTURE, (50, 50, 90, 90), plain))  # fmt: skip


@pytest.mark.parametrize("how", ["linear", "antialiased", "letterbox"])
def test_a_picture_on_a_device_is_cut_alike(how: str) -> None:
    face = to_device(PICTURE, "cpu")[20:120, 30:100]
    out = resize_face(face, 48, how)
    assert torch.is_tensor(out)
    np.testing.assert_array_equal(out.numpy(), resize_face(PICTURE[20:120, 30:100], 48, how))


def test_frames_are_spread_from_the_first_to_the_last() -> None:
    for total in (1, 5, 31, 32, 33, 300, 1017):
        expected = {int(i * (total - 1) / 31) for i in range(32)}
        assert set(evenly(total, 32)) == expected
        assert {0, total - 1} <= expected
    assert set(evenly(0, 32)) == {0}
