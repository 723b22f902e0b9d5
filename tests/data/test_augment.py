"""The detector's augmentation: each step against a plain oracle, its ranges and its frequencies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrigan.data import augment
from mrigan.data.augment import on_planes, random_erasing_, recipe
from mrigan.data.draws import Draws
from mrigan.data.operations import OnPlanes
from mrigan.errors import ConfigError
from tests.data.shards import picture

FACE = picture(4, 64)
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def spread(step, face: np.ndarray = FACE, count: int = 300) -> list[np.ndarray]:
    """The step under `count` generators; checks what holds for every step."""
    before = face.copy()
    results = [step(face, rng(seed)) for seed in range(count)]
    assert (face == before).all()  # the input is not written to
    assert all(r.shape == face.shape and r.dtype == np.uint8 for r in results)
    assert (results[7] == step(face, rng(7))).all()
    return results


def test_the_face_recipe_is_drawn_from_its_generator_alone() -> None:
    step = recipe("face")
    assert step is not None
    results = spread(step, count=60)
    assert len({r.tobytes() for r in results}) > 50


def test_the_mri_recipe_leaves_faces_alone() -> None:
    assert recipe("mri") is None
    with pytest.raises(ConfigError, match="'faces'"):
        recipe("faces")


def test_one_of_each_three_and_four_is_taken_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    names = ("padded_crop", "contrast", "box_blur", "maybe_flip", "maybe_grey", "brightness", "rotation", "erase")
    for name in names:
        monkeypatch.setattr(augment, name, lambda face, rng, do, name=name: taken.append(name) or face)
    for seed in range(1200):
        augment.augment_face(FACE, rng(seed))
    counts = {name: taken.count(name) for name in names}
    assert all(abs(counts[n] - 400) < 98 for n in names[:3])  # 6 standard deviations
    assert all(abs(counts[n] - 300) < 90 for n in names[3:7])
    assert sum(counts[n] for n in names[:3]) == sum(counts[n] for n in names[3:7]) == counts["erase"] == 1200


def test_padded_crop_is_a_window_of_the_padded_picture() -> None:
    padded = np.pad(FACE, ((8, 8), (8, 8), (0, 0)))  # an eighth of 64
    windows = {padded[y : y + 64, x : x + 64].tobytes(): (y, x) for y in range(17) for x in range(17)}
    places = {windows[r.tobytes()] for r in spread(augment.padded_crop)}
    assert {y for y, _ in places} == {x for _, x in places} == set(range(17))


def test_contrast_scales_about_the_mean_grey() -> None:
    face = FACE // 4 + 96  # nothing to clip
    grey = (face @ np.array([0.299, 0.587, 0.114])).mean()
    factors = []
    for result in spread(augment.contrast, face):
        x, y = face.astype(float) - grey, result.astype(float) - grey
        factor = (x * y).sum() / (x * x).sum()
        assert np.abs(y - factor * x).max() < 1.2  # rounding
        factors.append(factor)
    assert 0.495 < min(factors) < 0.53
    assert 1.47 < max(factors) < 1.505


def test_brightness_scales_and_clips() -> None:
    factors = []
    for result in spread(augment.brightness):
        inside = (result < 255) & (FACE > 0)
        factor = (result[inside].astype(float) @ FACE[inside]) / (FACE[inside].astype(float) @ FACE[inside])
        assert np.abs(np.clip(FACE * factor, 0, 255) - result).max() < 1.6
        factors.append(factor)
    assert 0.495 < min(factors) < 0.53
    assert 1.47 < max(factors) < 1.505


def test_box_blur_is_the_mean_of_a_box() -> None:
    seen = set()
    for result in spread(augment.box_blur, count=40):
        for radius in (1, 2, 3):
            side = 2 * radius + 1
            boxes = np.lib.stride_tricks.sliding_window_view(FACE, (side, side), axis=(0, 1)).mean(axis=(-2, -1))
            inner = result[radius:-radius, radius:-radius]
            if np.abs(inner - boxes).max() <= 0.51:
                seen.add(radius)
                break
        else:
            pytest.fail("no radius fits")
    assert seen == {1, 2, 3}


def test_flip_and_grey_have_their_probabilities() -> None:
    flips = [(r == FACE[:, ::-1]).all() for r in spread(augment.maybe_flip, count=1000)]
    assert abs(sum(flips) - 300) < 87
    grey = [r for r in spread(augment.maybe_grey, count=1000) if not (r == FACE).all()]
    assert abs(len(grey) - 50) < 42
    assert (grey[0] == grey[0][:, :, :1]).all()
    assert np.abs(grey[0][:, :, 0] - FACE @ np.array([0.299, 0.587, 0.114])).max() < 0.51


def test_rotation_turns_about_the_centre_by_at_most_30_degrees() -> None:
    face = np.zeros((65, 65, 3), np.uint8)
    face[31:34, 31:34] = 90  # the centre
    face[31:34, 57:60] = 250  # 26 px to its right
    angles = []
    for result in spread(augment.rotation, face, count=200):
        y, x = np.nonzero(result[:, :, 0] > 125)
        assert (result[32, 32] == 90).all()
        assert abs(np.hypot(y.mean() - 32, x.mean() - 32) - 26) < 0.6
        angles.append(np.degrees(np.arctan2(y.mean() - 32, x.mean() - 32)))
    assert -31 < min(angles) < -27
    assert 27 < max(angles) < 31


def test_erasing_blackens_one_rectangle() -> None:
    face = np.full((64, 64, 3), 200, np.uint8)
    erased = [r for r in spread(augment.erase, face, count=1000) if not (r == face).all()]
    assert abs(len(erased) - 300) < 87
    areas = []
    for result in erased:
        y, x = np.nonzero(result[:, :, 0] == 0)
        height, width = np.ptp(y) + 1, np.ptp(x) + 1
        assert len(y) == height * width
        assert set(np.unique(result)) == {0, 200}
        assert 0.25 < height / width < 4  # 0.3 … 3.3, and rounding
        areas.append(height * width / 64**2)
    assert 0.015 < min(areas) < 0.06
    assert 0.28 < max(areas) < 0.35


def test_random_erasing_of_tensors_hangs_on_the_seeds_alone() -> None:
    batch = torch.rand(400, 3, 32, 32) + 0.5
    seeds = torch.tensor([Draws.of(0, 0, f"key {n}").seed for n in range(400)])
    result = batch.clone()
    assert random_erasing_(result, seeds) is result
    hit = (result == 0).flatten(1).any(dim=1)
    assert abs(int(hit.sum()) - 120) < 55
    assert torch.equal(result[result != 0], batch[result != 0])
    assert ((result == 0).sum(dim=1) % 3 == 0).all()  # all channels together
    shuffled = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    assert torch.equal(random_erasing_(batch[shuffled].clone(), seeds[shuffled]), result[shuffled])
    assert torch.equal(random_erasing_(batch.clone(), seeds.tolist(), probability=0.0), batch)
    assert (random_erasing_(batch.clone(), seeds, probability=1.0) == 0).flatten(1).any(dim=1).all()
    with pytest.raises(ValueError, match="3 seeds for 400"):
        random_erasing_(batch, seeds[:3])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
@pytest.mark.parametrize(
    ("step", "most"),
    [("padded_crop", 0), ("contrast", 1), ("box_blur", 1), ("maybe_flip", 0), ("maybe_grey", 1), ("brightness", 1),
     ("rotation", 3), ("erase", 0)],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(64, 64), (48, 80)])
def test_planes_are_changed_as_arrays_are(step: str, most: int, shape: tuple[int, int], device: str) -> None:
    face = np.ascontiguousarray(picture(4, 80)[: shape[0], : shape[1]])
    change, planes = getattr(augment, step), torch.from_numpy(face.transpose(2, 0, 1).copy()).to(device)
    before, changed = planes.clone(), 0
    for seed in range(60):
        one = change(face, rng(seed)).transpose(2, 0, 1).astype(int)
        other = change(planes, rng(seed), OnPlanes())
        assert (other.shape, other.dtype, other.device.type) == (planes.shape, torch.uint8, device)
        off = np.abs(other.cpu().numpy().astype(int) - one)
        assert off.max() <= most
        assert off.mean() < 0.2
        changed += bool((one != face.transpose(2, 0, 1)).any())
    assert changed > 0
    assert torch.equal(planes, before)


def test_the_recipe_has_a_form_for_planes_and_others_have_none() -> None:
    form = on_planes(augment.augment_face)
    assert form is not None
    planes = torch.from_numpy(FACE.transpose(2, 0, 1).copy())
    for seed in range(80):
        one, other = augment.augment_face(FACE, rng(seed)), form(planes, rng(seed)).permute(1, 2, 0).numpy()
        assert np.abs(one.astype(int) - other).mean() < 0.4
    assert on_planes(lambda face, rng: face) is None


def test_draws_are_pinned() -> None:
    # What a run draws may not change between the two halves of a run.
    draws = Draws.of(1, 2, "0123456789ab-000010-00")
    assert (draws.uniform, draws.seed) == (0.050672717663927, 4569524243023406725)
    assert [draws.generator().random() for _ in range(2)] == [0.6455192111333437] * 2
    assert 0 <= draws.seed < 2**63
