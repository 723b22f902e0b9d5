"""Cutting and resizing faces."""

from __future__ import annotations

import numpy as np
import pytest

from mrigan.errors import ConfigError
from mrigan.video import crop, expand_box, resize_face


def test_ten_per_cent_of_each_side_clipped_to_the_frame() -> None:
    assert expand_box((100.9, 50.2, 200.7, 150.0), 0.1, (640, 480)) == (90, 40, 210, 160)
    assert expand_box((5, 5, 105, 105), 0.1, (110, 640)) == (0, 0, 110, 115)
    assert expand_box((-3.5, -2, 97, 98), 0.0, (640, 480)) == (0, 0, 97, 98)


def test_a_crop_is_the_pixels_of_its_box() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop(image, (10, 10, 30, 30)), image[8:32, 8:32])
    np.testing.assert_array_equal(crop(image, (0, 0, 64, 48)), image)
    with pytest.raises(ValueError, match="outside"):
        crop(image, (70, 10, 90, 30))


def test_area_is_the_mean_of_the_pixels_when_shrinking() -> None:
    image = np.random.default_rng(0).integers(0, 256, (512, 1024, 3), dtype=np.uint8)
    blocks = image.reshape(256, 2, 256, 4, 3).astype(float).mean((1, 3))
    np.testing.assert_allclose(resize_face(image, 256), blocks, atol=0.51)
    np.testing.assert_array_equal(resize_face(image[:256, :256]), image[:256, :256])


def test_small_faces_are_enlarged() -> None:
    image = np.full((40, 30, 3), 77, np.uint8)
    assert np.unique(resize_face(image, 256)).tolist() == [77]
    assert resize_face(image, 128).shape == (128, 128, 3)


def test_an_unknown_step_is_named() -> None:
    with pytest.raises(ConfigError, match="area"):
        resize_face(np.zeros((4, 4, 3), np.uint8), 256, "lanczos9")
