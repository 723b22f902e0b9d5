"""Self-blended images: each constant of the paper against what is drawn, and each step against a plain one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull
from skimage.draw import polygon2mask

from mrigan.config import FacesConfig
from mrigan.imaging import blending
from mrigan.imaging.blending import HULLS, OVAL, BlendRecipe, ColourJitter, SelfBlend, blended, hull_mask, self_blend
from mrigan.sample.portraits import load_portraits
from mrigan.video import FaceDetector
from mrigan.video.landmarks import FaceMesh

SIDE = 256
RECIPE = BlendRecipe()
UNCHANGED = ColourJitter(shift_prob=0.0, prob=0.0)
PLAIN = replace(RECIPE, colour=UNCHANGED, sharpen=(0.0, 0.0), downscale=(1,),
                move=(0.0, 0.0), scale=(1.0, 1.0), elastic=(0.0, 7.0))  # fmt: skip


@pytest.fixture(scope="module")
def face(face_mesh: Path) -> tuple[np.ndarray, np.ndarray]:
    """A portrait's face in 256 px, and its landmarks there."""
    image = load_portraits()[0].image.astype(np.uint8)
    found = FaceDetector(FacesConfig()).detect([image])[0][0]
    points = FaceMesh()(image, found.box).points[:, :2]
    x0, y0, x1, y1 = found.box
    scale = SIDE / (1.3 * max(x1 - x0, y1 - y0))
    shift = SIDE / 2 - scale * np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    crop = cv2.warpAffine(image, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (SIDE, SIDE))
    return crop, points * scale + shift


def pairs(face: tuple[np.ndarray, np.ndarray], count: int, recipe: BlendRecipe = RECIPE) -> list[SelfBlend]:
    return [self_blend(*face, np.random.default_rng(i), recipe) for i in range(count)]


def test_the_same_generator_gives_the_same_pair(face: tuple) -> None:
    before = face[0].copy()
    first, again, other = (self_blend(*face, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first.target == again.target).all()
    assert (first.blend == again.blend).all()
    assert (first.blend != other.blend).any()
    assert (face[0] == before).all()


def test_one_side_is_changed_and_the_blend_differs_inside_the_mask_alone(face: tuple) -> None:
    made = pairs(face, 200)
    assert sum((pair.target == face[0]).all() for pair in made) == pytest.approx(100, abs=25)
    for pair in made:
        assert (pair.blend == pair.target)[pair.mask == 0].all()
    ratios = np.array([0.25, 0.5, 0.75, 1.0])
    assert {int(np.abs(ratios - pair.mask.max()).argmin()) for pair in made} == {0, 1, 2, 3}
    assert sum(pair.mask.max() > 0.99 for pair in made) == pytest.approx(100, abs=25)


def test_hulls_are_drawn_as_often_as_their_weights_say(face: tuple) -> None:
    counts = Counter(pair.hull for pair in pairs(face, 400, replace(PLAIN, mask_size=(8, 8))))
    assert set(counts) == set(HULLS)
    for kind, weight in RECIPE.hulls:
        assert counts[kind] == pytest.approx(40 * weight, rel=0.45)


def test_the_face_is_the_convex_hull_of_its_outline(face: tuple) -> None:
    points = np.round(face[1][list(OVAL)])
    hull = points[ConvexHull(points).vertices]
    expected = polygon2mask((SIDE, SIDE), hull[:, ::-1])
    mask = hull_mask("face", face[1], (SIDE, SIDE), np.random.default_rng(0))
    assert (mask.astype(bool) ^ expected).sum() < 0.02 * expected.sum()  # how each counts px on the edge
    areas = {kind: hull_mask(kind, face[1], (SIDE, SIDE), np.random.default_rng(1)).sum() for kind in HULLS}
    assert areas["face"] > areas["no_forehead"] > areas["inner"] > areas["mouth"] > 0
    assert 0 < areas["eyes"] < areas["inner"]
    assert all(not (hull_mask(kind, face[1], (SIDE, SIDE), np.random.default_rng(1)) > mask).any() for kind in HULLS)


def test_the_blend_is_the_weighted_mean(face: tuple) -> None:
    rng = np.random.default_rng(0)
    source, target = (rng.integers(0, 256, (64, 48, 3), np.uint8) for _ in range(2))
    mask = rng.random((64, 48), np.float32)
    weight = mask[..., None].astype(np.float64)
    exact = weight * source + (1 - weight) * target
    assert np.abs(blended(source, target, mask) - exact).max() < 0.505  # the weights are divided by their sum + 1e-5


def test_colours_shift_by_up_to_20_levels_in_three_of_ten() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([ColourJitter(prob=0).draw(rng) for _ in range(2000)]).astype(int)
    offsets = drawn[:, 128] - 128  # far from both ends
    shifted = (offsets != 0).any(axis=1)
    assert shifted.mean() == pytest.approx(0.3, abs=0.035)
    assert np.abs(offsets).max() == 20
    assert offsets[shifted].std() == pytest.approx(20 / np.sqrt(3), rel=0.05)
    assert (drawn == np.clip(np.arange(256)[None, :, None] + offsets[:, None], 0, 255)).all()


def test_brightness_and_contrast_change_by_a_tenth() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([ColourJitter(shift_prob=0).draw(rng) for _ in range(2000)]).astype(float)
    gain = (drawn[:, 180, 0] - drawn[:, 80, 0]) / 100
    offset = drawn[:, 128, 0] - gain * 128
    assert np.abs(gain - 1).max() == pytest.approx(0.1, abs=0.011)
    assert np.abs(offset).max() == pytest.approx(25.5, abs=1.5)
    assert (drawn[..., 0] == drawn[..., 1]).all()


def test_the_copy_becomes_coarser_or_sharper(face: tuple) -> None:
    recipe = replace(RECIPE, colour=UNCHANGED)
    detail = [cv2.Laplacian(blending._changed(face[0], np.random.default_rng(i), recipe), cv2.CV_64F).std()
              for i in range(100)]  # fmt: skip
    before = cv2.Laplacian(face[0], cv2.CV_64F).std()
    assert sum(d > before for d in detail) == pytest.approx(50, abs=15)
    assert sum(d < before for d in detail) == pytest.approx(50, abs=15)
    recipe = replace(recipe, sharpen=(0.5, 0.5), downscale=(1,))  # made coarser by 1 it stays as it is
    copies = [blending._changed(face[0], np.random.default_rng(i), recipe) for i in range(20)]
    centre = face[0].astype(float)
    around = sum(np.roll(centre, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) - centre
    exact = np.clip(0.5 * centre + 0.5 * (9 * centre - around), 0, 255)
    sharp = [np.abs(copy - exact)[2:-2, 2:-2].max() <= 1 for copy in copies]
    assert all(is_sharp != (copy == face[0]).all() for is_sharp, copy in zip(sharp, copies, strict=True))
    assert any(sharp)
    assert not all(sharp)


def test_the_copy_and_its_mask_move_and_scale_alike(face: tuple) -> None:
    spot = np.zeros((SIDE, SIDE), np.float32)
    cv2.circle(spot, (SIDE // 2, SIDE // 2), 40, 1.0, -1)
    picture = np.repeat((spot * 255).astype(np.uint8)[..., None], 3, axis=2)
    ys, xs = np.mgrid[:SIDE, :SIDE]
    shifts, scales = [], []
    for i in range(400):
        source, mask = blending._moved(picture, spot, np.random.default_rng(i), RECIPE)
        assert np.abs(source[..., 0] / 255 - mask).max() < 0.01
        shifts.append([(xs * mask).sum() / mask.sum() - SIDE / 2, (ys * mask).sum() / mask.sum() - SIDE / 2])
        scales.append(np.sqrt(mask.sum() / spot.sum()))
    most = np.abs(shifts).max(axis=0) / SIDE
    assert most == pytest.approx([0.03, 0.015], rel=0.1)
    assert (min(scales), max(scales)) == pytest.approx((0.95, 1 / 0.95), abs=0.005)


def test_the_elastic_field_is_that_of_noise_on_each_pixel() -> None:
    """Of the paper: uniform noise, blurred by 7 px, times 50; here drawn on a grid of a quarter."""
    noise = np.random.default_rng(0).uniform(-1, 1, (40, SIDE, SIDE))
    field = np.stack([gaussian_filter(plane, 7, mode="reflect") for plane in noise]) * 50
    ramp = np.tile(np.arange(SIDE, dtype=np.float32) + 1000, (SIDE, 1))
    inside = slice(24, -24)
    drawn = np.stack([blending._warped(ramp, np.random.default_rng(i), RECIPE) - ramp for i in range(40)])
    ours, theirs = drawn[:, inside, inside], field[:, inside, inside]
    assert ours.std() == pytest.approx(theirs.std(), rel=0.05)
    assert np.diff(ours, axis=2).std() == pytest.approx(np.diff(theirs, axis=2).std(), rel=0.1)


def test_edges_of_a_mask_are_soft_and_inside_it(face: tuple) -> None:
    mask = hull_mask("face", face[1], (SIDE, SIDE), np.random.default_rng(0))
    widths = []
    for i in range(100):
        soft = blending._soft(mask, np.random.default_rng(i), RECIPE)
        assert soft.max() == pytest.approx(1, abs=1e-3)
        assert soft[mask == 0].max() < 0.5
        widths.append(((soft > 0.02) & (soft < 0.98)).sum() / mask.sum())
    assert max(widths) > 4 * min(widths)
    assert not blending._soft(np.zeros_like(mask), np.random.default_rng(0), RECIPE).any()


def test_with_all_changes_off_there_is_no_difference(face: tuple) -> None:
    for pair in pairs(face, 30, PLAIN):
        assert np.abs(pair.blend.astype(int) - pair.target).max() <= 1
