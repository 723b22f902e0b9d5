"""The detector's augmentation: each step against a plain oracle, its ranges and its frequencies."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from mrigan.data.sample_rng import SampleRng
from mrigan.errors import ConfigError
from mrigan.imaging import face_augmentation as augment
from mrigan.imaging.face_augmentation import ERASED, FaceRecipe, random_erasing_, recipe, takes_planes
from mrigan.models.detector import IMAGENET_MEAN, IMAGENET_STD
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
    step = recipe("face", rng(0))
    assert step is not None
    results = spread(step, count=60)
    assert len({r.tobytes() for r in results}) > 50


def test_the_mri_recipe_leaves_faces_alone() -> None:
    assert recipe("mri", rng(0)) is None
    with pytest.raises(ConfigError, match="'faces'"):
        recipe("faces", rng(0))


def test_one_of_each_three_and_four_is_taken_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    mix = recipe("face", rng(0))
    assert mix is not None
    names = ("padded_crop", "contrast", "box_blur", "maybe_flip", "maybe_grey", "brightness", "rotation", "erase")
    for name in names:
        monkeypatch.setattr(augment, name, lambda face, rng, name=name, **_: taken.append(name) or face)
    for seed in range(1200):
        mix(FACE, rng(seed))
    counts = {name: taken.count(name) for name in names}
    assert all(abs(counts[n] - 400) < 98 for n in names[:3])  # 6 standard deviations
    assert all(abs(counts[n] - 300) < 90 for n in names[3:7])
    assert sum(counts[n] for n in names[:3]) == sum(counts[n] for n in names[3:7]) == counts["erase"] == 1200


def test_near_crop_is_a_window_of_the_padded_picture() -> None:
    padded = np.pad(FACE, ((8, 8), (8, 8), (0, 0)))  # an eighth of 64
    windows = {padded[y : y + 64, x : x + 64].tobytes(): (y, x) for y in range(17) for x in range(17)}
    places = {windows[r.tobytes()] for r in spread(augment.near_crop)}
    assert {y for y, _ in places} == {x for _, x in places} == set(range(17))


def test_the_authors_crop_is_a_window_of_224_of_the_face_padded_by_224() -> None:
    """Against torchvision's RandomCrop(224, padding=224) on a face of 256 px: where it lies, how much of it is face."""
    from torchvision.transforms import RandomCrop

    white = np.full((256, 256, 3), 255, np.uint8)
    shares = [(r > 127).mean() for r in spread(augment.padded_crop, white, count=600)]
    torch.manual_seed(0)
    oracle = RandomCrop(224, padding=224)
    wanted = [float((oracle(torch.full((1, 256, 256), 255, dtype=torch.uint8)) > 127).float().mean()) for _ in shares]
    assert np.mean(shares) == pytest.approx(np.mean(wanted), abs=0.05)
    assert np.quantile(shares, [0.25, 0.5, 0.75]) == pytest.approx(np.quantile(wanted, [0.25, 0.5, 0.75]), abs=0.07)
    assert 0.24 < np.mean(shares) < 0.33
    assert 0.001 < np.mean(np.array(shares) == 0) < 0.03  # faces that are wholly outside
    # What is inside is the face itself, enlarged from the window to the picture's size.
    small = picture(4, 32)
    padded = np.pad(small, ((28, 28), (28, 28), (0, 0)))
    windows = (padded[y : y + 28, x : x + 28] for y in range(61) for x in range(61))
    big = [np.asarray(Image.fromarray(w).resize((32, 32), Image.Resampling.BILINEAR)).astype(int) for w in windows]
    for result in spread(augment.padded_crop, small, count=12):
        assert min(np.abs(result - one).max() for one in big) <= 2


def test_jitter_strength_is_drawn_once_a_run() -> None:
    recipes = [recipe("face", rng(seed)) for seed in range(400)]
    assert recipes[3] == recipe("face", rng(3))  # a restart draws the same
    assert all(isinstance(each, FaceRecipe) for each in recipes)
    for name in ("contrast", "brightness"):
        strengths = [getattr(each, name) for each in recipes]
        assert 0 <= min(strengths) < 0.02
        assert 0.98 < max(strengths) < 1
        assert abs(np.mean(strengths) - 0.5) < 0.09  # 6 standard deviations
    assert abs(np.corrcoef([(r.contrast, r.brightness) for r in recipes if r], rowvar=False)[0, 1]) < 0.3


def test_contrast_scales_about_the_mean_grey() -> None:
    face = FACE // 4 + 96  # nothing to clip
    grey = (face @ np.array([0.299, 0.587, 0.114])).mean()
    factors = []
    for result in spread(partial(augment.contrast, strength=0.5), face):
        x, y = face.astype(float) - grey, result.astype(float) - grey
        factor = (x * y).sum() / (x * x).sum()
        assert np.abs(y - factor * x).max() < 1.2  # rounding
        factors.append(factor)
    assert 0.495 < min(factors) < 0.53
    assert 1.47 < max(factors) < 1.505


def test_brightness_scales_and_clips() -> None:
    factors = []
    for result in spread(partial(augment.brightness, strength=0.5)):
        inside = (result < 255) & (FACE > 0)
        factor = (result[inside].astype(float) @ FACE[inside]) / (FACE[inside].astype(float) @ FACE[inside])
        assert np.abs(np.clip(FACE * factor, 0, 255) - result).max() < 1.6
        factors.append(factor)
    assert 0.495 < min(factors) < 0.53
    assert 1.47 < max(factors) < 1.505


def test_box_blur_is_pils() -> None:
    """To its edges, of radius 1, 2 and 3, each as often."""
    blurred = {r: np.asarray(Image.fromarray(FACE).filter(ImageFilter.BoxBlur(r))).astype(int) for r in (1, 2, 3)}
    seen = []
    for result in spread(augment.box_blur):
        [radius] = [r for r, one in blurred.items() if np.abs(result - one).max() <= 1]
        seen.append(radius)
    assert all(abs(seen.count(radius) - 100) < 49 for radius in blurred)


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


def test_what_is_erased_is_what_normalize_makes_0() -> None:
    normalised = (np.array(ERASED) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    assert np.abs(normalised).max() < 0.5 / 255 / min(IMAGENET_STD)  # to the rounding of a byte


def test_erasing_greys_one_rectangle() -> None:
    face = np.full((64, 64, 3), 200, np.uint8)
    erased = [r for r in spread(augment.erase, face, count=1000) if not (r == face).all()]
    assert abs(len(erased) - 300) < 87
    areas = []
    for result in erased:
        y, x = np.nonzero((result == ERASED).all(axis=2))
        height, width = np.ptp(y) + 1, np.ptp(x) + 1
        assert len(y) == height * width
        assert set(np.unique(result)) == {200, *ERASED}
        assert 0.25 < height / width < 4  # 0.3 … 3.3, and rounding
        areas.append(height * width / 64**2)
    assert 0.015 < min(areas) < 0.06
    assert 0.28 < max(areas) < 0.35


def test_random_erasing_of_tensors_hangs_on_the_seeds_alone() -> None:
    batch = torch.rand(400, 3, 32, 32) + 0.5
    seeds = torch.tensor([SampleRng.of(0, 0, f"key {n}").seed for n in range(400)])
    result = batch.clone()
    grey = (0.25, 0.125, 0.375)
    assert random_erasing_(result, seeds, grey) is result
    erased = result == torch.tensor(grey).view(3, 1, 1)
    hit = erased.flatten(1).any(dim=1)
    assert abs(int(hit.sum()) - 120) < 55
    assert torch.equal(result[~erased], batch[~erased])
    assert (erased.sum(dim=1) % 3 == 0).all()  # all channels together
    shuffled = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    assert torch.equal(random_erasing_(batch[shuffled].clone(), seeds[shuffled], grey), result[shuffled])
    assert torch.equal(random_erasing_(batch.clone(), seeds.tolist(), grey, probability=0.0), batch)
    everywhere = random_erasing_(batch.clone(), seeds, grey, probability=1.0)
    assert (everywhere[:, 0] == grey[0]).flatten(1).any(dim=1).all()
    with pytest.raises(ValueError, match="3 seeds for 400"):
        random_erasing_(batch, seeds[:3], grey)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
@pytest.mark.parametrize(
    ("step", "most"),
    [("padded_crop", 1), ("near_crop", 0), ("contrast", 1), ("box_blur", 1), ("maybe_flip", 0), ("maybe_grey", 1),
     ("brightness", 1), ("rotation", 3), ("erase", 0)],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(64, 64), (48, 80)])
def test_planes_are_changed_as_arrays_are(step: str, most: int, shape: tuple[int, int], device: str) -> None:
    face = np.ascontiguousarray(picture(4, 80)[: shape[0], : shape[1]])
    strength = {"strength": 0.5} if step in ("contrast", "brightness") else {}
    change, planes = (
        partial(getattr(augment, step), **strength),
        torch.from_numpy(face.transpose(2, 0, 1).copy()).to(device),
    )
    before, changed = planes.clone(), 0
    for seed in range(60):
        one = change(face, rng(seed)).transpose(2, 0, 1).astype(int)
        other = change(planes, rng(seed))
        assert (other.shape, other.dtype, other.device.type) == (planes.shape, torch.uint8, device)
        off = np.abs(other.cpu().numpy().astype(int) - one)
        assert off.max() <= most
        assert off.mean() < 0.2
        changed += bool((one != face.transpose(2, 0, 1)).any())
    assert changed > 0
    assert torch.equal(planes, before)


def test_the_recipe_has_a_form_for_planes_and_others_have_none() -> None:
    mix = recipe("face", rng(0))
    assert mix is not None
    assert takes_planes(mix)
    planes = torch.from_numpy(FACE.transpose(2, 0, 1).copy())
    for seed in range(80):
        one, other = mix(FACE, rng(seed)), mix(planes, rng(seed)).permute(1, 2, 0).numpy()
        assert np.abs(one.astype(int) - other).mean() < 0.4
    assert not takes_planes(lambda face, rng: face)


def test_draws_are_pinned() -> None:
    # What a run draws may not change between the two halves of a run.
    draws = SampleRng.of(1, 2, "0123456789ab-000010-00")
    assert (draws.uniform, draws.seed) == (0.050672717663927, 4569524243023406725)
    assert [draws.generator().random() for _ in range(2)] == [0.6455192111333437] * 2
    assert 0 <= draws.seed < 2**63
