"""The recipe on real files: a sample can be made again from its json alone, and boxes follow the pixels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from mrigan.catalog import Catalog, Clip, clip_id, write_catalog
from mrigan.config import ShardsConfig
from mrigan.errors import ConfigError
from mrigan.imaging.encoding import decode, encode
from mrigan.imaging.picture import grey
from mrigan.imaging.recipe import MIX
from mrigan.packing import build_shards, plan_shards, verify_shards
from mrigan.packing.family import Sample, family_samples
from mrigan.packing.tools import Stages, Tools
from mrigan.packing.treated import Treated
from mrigan.shardset.rows import Row
from mrigan.video import Face, FaceDetector, Frame, crop, draw_treatment, read_frames, resize_face
from mrigan.video.geometry import border_difference
from mrigan.video.tracks import iou
from tests.clips import write_clip
from tests.imaging.records import treatment_of
from tests.packing.conftest import config, tree
from tests.packing.videos import SHARP, portraits

FRAMES = 7
OFF = 5  # of 255, that all of the pale fake is lighter: too much for a pair
WINDOW = 8  # px that the cropped fake lacks on the left and on the right


@dataclass(frozen=True)
class Made:
    """One family: a swap, one that is cut out of the middle, one that is not aligned, and a fake of the sound alone."""

    clips: Catalog
    catalog: Path
    detector: FaceDetector

    def frames(self, clip: str) -> dict[int, np.ndarray]:
        path = next(self.clips.path(c) for c in self.clips.clips if c.id == clip)
        return {frame.index: frame.image for frame in read_frames(path, every=1)}

    @property
    def family(self) -> str:
        return self.clips.families()[0].id


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("treated")
    root = folder / "videos"
    root.mkdir()
    collins = portraits()[0]
    plain, forged = collins.frames(FRAMES), collins.frames(FRAMES, forged=True)
    cut = [np.ascontiguousarray(frame[:, WINDOW : 320 - WINDOW]) for frame in forged]
    original = clip_id("toy", "original", "", "collins")
    clips = [Clip("toy", "original", "", "collins", "collins.mp4", "real", split="train")]
    write_clip(root / "collins.mp4", plain, options=SHARP)
    pale = [np.clip(frame.astype(int) + OFF, 0, 255).astype(np.uint8) for frame in forged]
    for method, frames in (("swap", forged), ("cut", cut), ("sound", plain), ("pale", pale)):
        write_clip(root / f"{method}.mp4", frames, options=SHARP)
        clips.append(Clip("toy", method, "", "collins", f"{method}.mp4", "fake", original=original, split="train"))
    catalog = Catalog(root, clips)
    write_catalog(catalog, folder / "catalog.parquet")
    return Made(catalog, folder / "catalog.parquet", FaceDetector(config().faces))


def treated_config(made: Made, mix: str, on: str, wanted: Callable[[dict[str, Any]], bool], *more: str) -> ShardsConfig:
    """A config whose seed gives the family what is wanted."""
    shares = [f"recipe.mix.{key}={float(key == mix)}" for key in MIX]
    settings = ["recipe.share=1", f"recipe.detect_on={on}", *shares, "faces.every=3", "pack.mri_format=png", *more]
    for seed in range(500):
        found = config(*settings, f"pack.seed={seed}")
        treatment = draw_treatment(found.recipe, seed, made.family, "toy")
        assert treatment is not None
        if wanted({step.name: step.settings for step in treatment.steps}):
            return found
    raise AssertionError("no seed draws that")


def items(made: Made, settings: ShardsConfig, out: Path) -> list[Sample | Row]:
    plan = plan_shards(made.catalog, settings, out)
    tools = Tools(plan)
    tools.__dict__["detector"] = made.detector  # loading it takes longer than seven small frames
    return family_samples(plan.units[0].families[0], tools, Stages())


def stored(found: list[Sample | Row]) -> Iterator[tuple[Row, dict[str, bytes], dict[str, Any]]]:
    for item in found:
        if isinstance(item, Sample):
            members = dict(item.members)
            yield item.row, members, json.loads(members["json"])


def face_of(image: np.ndarray, about: dict[str, Any]) -> np.ndarray:
    return resize_face(crop(image, about["box"], 0.1), 256, "area")


CASES = [
    ("augmentation", "clean", "rotation"), ("augmentation", "augmented", "rotation"), ("augmentation", "clean", "flip"),
    ("augmentation", "augmented", "rescale"), ("distraction_noise", "clean", "poisson"),
    ("augmentation_noise", "augmented", "speckle"), ("distraction_noise_augmentation", "clean", "gaussian"),
]  # fmt: skip


@pytest.mark.parametrize(("mix", "on", "name"), CASES)
def test_a_sample_can_be_made_again_from_its_json(made: Made, tmp_path: Path, mix: str, on: str, name: str) -> None:
    settings = treated_config(made, mix, on, lambda names: name in names)
    found = items(made, settings, tmp_path / "shards")
    count: Counter[str] = Counter()
    original = made.frames(made.family)
    for row, members, about in stored(found):
        count[row.method] += 1
        treatment, index = treatment_of(about["augment"]), about["augment"]["frame"]
        assert treatment == draw_treatment(settings.recipe, about["augment"]["seed"], made.family, "toy")
        frame = treatment.apply(made.frames(row.clip)[row.frame], index)
        assert about["frame_size"] == [frame.shape[1], frame.shape[0]]
        face = face_of(frame, about)
        assert encode(face, "jpg", 95) == members["face.jpg"]
        mri = decode(members["mri.png"])
        assert mri is not None
        if row.label == "real":
            assert not mri.any()
            continue
        under = original[index][:, WINDOW : 320 - WINDOW] if row.method == "cut" else original[index]
        real = face_of(treatment.apply(np.ascontiguousarray(under), index), about)
        _, similar = structural_similarity(real, face, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                           full=True, channel_axis=-1, data_range=255)  # fmt: skip
        assert np.abs(np.clip((1 - similar) * 255, 0, 255) - mri).max() < 1.01
    assert count == {"original": 3, "swap": 3, "cut": 3}
    rows = [item for item in found if isinstance(item, Row)]
    assert Counter((row.method, row.status, row.reason) for row in rows) == {
        ("sound", "dropped", "unchanged"): 3,
        ("pale", "dropped", "misaligned"): 3,
    }


def test_the_mri_of_a_clean_pair_is_what_it_is_without_a_treatment(made: Made, tmp_path: Path) -> None:
    """Common noise hides a forgery from SSIM; `recipe.mri_of=clean` stores what the forger did, under a noisy face."""
    plain = items(made, config("faces.every=3", "pack.mri_format=png"), tmp_path / "plain")
    expected = {row.key: (members["mri.png"], row.mri_mean) for row, members, _ in stored(plain)}
    built: dict[str, list[tuple[Row, dict[str, bytes], dict[str, Any]]]] = {}
    for of in ("treated", "clean"):
        settings = treated_config(made, "noise", "clean", lambda names: "gaussian" in names, f"recipe.mri_of={of}")
        built[of] = list(stored(items(made, settings, tmp_path / of)))
    for (row, noisy, about), (_, clean, about_clean) in zip(built["treated"], built["clean"], strict=True):
        assert noisy["face.jpg"] == clean["face.jpg"]
        assert clean["mri.png"] == expected[row.key][0]
        fake = row.label == "fake"
        assert about_clean["augment"] == about["augment"] | ({"mri_of": "clean"} if fake else {})
        assert not fake or row.mri_mean < expected[row.key][1] / 1.5
    assert sum(row.label == "fake" for row, _, _ in built["clean"]) == 6


@pytest.mark.parametrize("on", ["clean", "augmented"])
@pytest.mark.parametrize("name", ["rotation", "flip", "rescale", "contrast"])
def test_a_clean_mri_lies_where_its_face_does(made: Made, tmp_path: Path, name: str, on: str) -> None:
    settings = treated_config(made, "augmentation_noise", on, lambda names: name in names, "recipe.mri_of=clean")
    original = made.frames(made.family)
    seen = 0
    for row, members, about in stored(items(made, settings, tmp_path / "shards")):
        if row.method != "swap":
            continue
        index = about["augment"]["frame"]
        steps = [step for step in about["augment"]["steps"] if step["name"] in ("rotation", "flip", "rescale")]
        assert bool(steps) == (name != "contrast")
        motion = treatment_of(about["augment"] | {"steps": steps})
        pair = (motion.apply(frame, index) for frame in (original[index], made.frames(row.clip)[row.frame]))
        real, fake = (face_of(picture, about) for picture in pair)
        _, similar = structural_similarity(real, fake, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                           full=True, channel_axis=-1, data_range=255)  # fmt: skip
        mri = decode(members["mri.png"])
        assert mri is not None
        assert np.abs(np.clip((1 - similar) * 255, 0, 255) - mri).max() < 1.01
        seen += 1
    assert seen == 3


@pytest.mark.parametrize("name", ["rotation", "flip", "rescale", "blur"])
def test_boxes_that_follow_are_those_that_are_found(made: Made, tmp_path: Path, name: str) -> None:
    boxes: dict[str, dict[str, list[float]]] = {}
    for on in ("clean", "augmented"):
        found = items(made, treated_config(made, "augmentation", on, lambda names: name in names), tmp_path / on)
        boxes[on] = {row.key: about["box"] for row, _, about in stored(found)}
    assert boxes["clean"].keys() == boxes["augmented"].keys()
    for key, box in boxes["clean"].items():
        assert iou(box, boxes["augmented"][key]) > 0.75


def test_a_cut_out_fake_is_cut_where_its_original_is(made: Made, tmp_path: Path) -> None:
    """In a rotated pair of another size, too."""
    for on in ("clean", "augmented"):
        settings = treated_config(made, "augmentation", on, lambda names: "rotation" in names)
        found = {(row.method, row.frame): about for row, _, about in stored(items(made, settings, tmp_path / on))}
        for index in (0, 3, 6):
            x0, y0, x1, y1 = found["original", index]["box"]
            assert found["swap", index]["box"] == pytest.approx([x0, y0, x1, y1], abs=1e-6)
            expected = [x0 - WINDOW, y0, x1 - WINDOW, y1]  # both are turned about their own, the same, centre
            assert found["cut", index]["box"] == pytest.approx(expected, abs=1e-6)
            assert found["cut", index]["frame_size"] == [320 - 2 * WINDOW, 240]


@pytest.mark.parametrize("name", ["contrast", "salt_and_pepper"])
def test_pairs_are_judged_as_they_were_decoded(made: Made, tmp_path: Path, name: str) -> None:
    """Little contrast would hide that a fake is not aligned, in the border as in the face."""
    mix = "augmentation" if name == "contrast" else "noise"
    limit = "pairs.border_difference=4.7"
    settings = treated_config(
        made, mix, "clean", lambda names: name in names and names[name].get("value", -20) <= -18, limit
    )
    treatment = draw_treatment(settings.recipe, settings.pack.seed, made.family, "toy")
    assert treatment is not None
    if name == "contrast":
        a, b = (treatment.apply(made.frames(clip)[3], 3) for clip in (made.family, "toy/pale/-/collins"))
        assert border_difference(grey(a), grey(b)) < settings.pairs.border_difference
    plain = items(made, config("faces.every=3", "pack.mri_format=png", limit), tmp_path / "plain")
    found = items(made, settings, tmp_path / "treated")

    def outcomes(found: list[Sample | Row]) -> list[tuple[str, str, str]]:
        rows = (item.row if isinstance(item, Sample) else item for item in found)
        return [(row.key, row.status, row.reason) for row in rows]

    assert outcomes(found) == outcomes(plain)
    assert all(about["augment"] == {} for _, _, about in stored(plain))
    means = {row.key: row.mri_mean for row, _, _ in stored(plain)}
    assert all(row.mri_mean < means[row.key] + 5 for row, _, _ in stored(found))  # the noise is the same on both sides


def test_a_face_that_is_turned_out_of_sight_is_dropped() -> None:
    record = {"seed": 0, "family": "f", "steps": [{"kind": "augmentation", "name": "rotation", "degrees": 15}]}
    treated = Treated(treatment_of(record), lambda _: nullcontext())
    image = np.zeros((300, 400, 3), np.uint8)
    corner = Face(0, 0.0, 0, (0.0, 0.0, 80.0, 80.0), 0.9, ())
    middle = Face(0, 0.0, 1, (160.0, 100.0, 240.0, 200.0), 0.9, ())
    assert treated.face(corner, image) is None
    assert treated.face(middle, image) is not None
    assert treated.image(Frame(0, 0.0, image)).shape == image.shape


def test_the_bytes_depend_on_seed_and_recipe_alone(made: Made, tmp_path: Path) -> None:
    """Not on workers, and not on whether the faces were known before."""
    settings = ["faces.every=3", "recipe.share=1", "recipe.detect_on=augmented", f"pack.faces_dir={tmp_path / 'faces'}"]
    folders = [tmp_path / name for name in ("one", "two")]
    for folder, workers in zip(folders, (1, 2), strict=True):
        plan_shards(made.catalog, config(*settings), folder)
        build_shards(folder, workers=workers)
    first, second = ({name: data for name, data in tree(folder).items() if ".tar" in name} for folder in folders)
    assert first == second
    assert len(first) == 2
    assert verify_shards(folders[0]) == []

    others = [], ["pack.seed=1"], ["recipe.share=0.5"], ["recipe.detect_on=clean"]
    plans = [plan_shards(made.catalog, config(*settings, *more), tmp_path / str(k)) for k, more in enumerate(others)]
    assert len({plan.hash for plan in plans}) == 4
    with pytest.raises(ConfigError, match="no clip is of dfdc"):
        plan_shards(made.catalog, config("recipe.share=0.3", "recipe.datasets=[dfdc]"), tmp_path / "typo")
