"""A set whose frames are treated, cut and compared by torch, as with `video.device=cuda`; on the CPU's torch here.

Nothing but the place of the frames is forced, so that the plumbing is a GPU's: frames are tensors from the decoder
to the stored face.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mrigan.catalog import Catalog, Clip, clip_id, write_catalog
from mrigan.imaging.picture import to_device
from mrigan.packing import plan_shards, tools
from mrigan.packing.family import Sample, family_samples
from mrigan.packing.tools import Stages, Tools
from mrigan.video import Decoded, Frame, PyAvSource
from mrigan.video.source import OnDevice
from tests.clips import write_clip
from tests.packing.conftest import config
from tests.packing.sets import samples
from tests.packing.videos import SHARP, portraits

SETTINGS = ("pack.mri_format=png", "recipe.share=1", "faces.long_side=300", "faces.every=5")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Families of both portraits: a swap, one cut out of the middle, one of the sound alone; and a still."""
    root = tmp_path_factory.mktemp("device")
    clips: list[Clip] = []
    for name, person in zip(("a", "b", "c"), (*portraits(), portraits()[0].mirrored()), strict=True):
        forged = person.frames(11, forged=True)
        made = {
            "real": person.frames(11),
            "swap": forged,
            "cut": [np.ascontiguousarray(image[:, 8:-8]) for image in forged],
            "sound": person.frames(11),
        }
        for method, frames in made.items():
            write_clip(root / f"{name}-{method}.mp4", frames, options=SHARP)
            source = None if method == "real" else clip_id("toy", "original", "", f"{name}-real")
            clips.append(Clip("toy", method if source else "original", "", f"{name}-{method}", f"{name}-{method}.mp4",
                              "fake" if source else "real", original=source, split="train"))  # fmt: skip
    cv2.imwrite(str(root / "still.png"), portraits()[0].image[..., ::-1])
    clips.append(Clip("toy", "original", "", "still", "still.png", "real", split="train"))
    write_catalog(Catalog(root, clips), root / "catalog.parquet")
    return root / "catalog.parquet"


@pytest.mark.parametrize("settings", [(), ("recipe.detect_on=augmented", "pack.seed=2")])
def test_a_set_by_torch_is_that_by_opencv(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    theirs = samples(catalog, tmp_path / "cpu", config(*SETTINGS, *settings))
    on_device: list[bool] = []
    cut = Tools.cut

    def watched(self: Tools, image: Any, *where: Any) -> Any:
        on_device.append(isinstance(image, torch.Tensor))
        return cut(self, image, *where)

    monkeypatch.setattr(tools, "family_source", lambda config, paths: OnDevice(PyAvSource(), "cpu"))
    monkeypatch.setattr(Tools, "cut", watched)
    ours = samples(catalog, tmp_path / "torch", config(*SETTINGS, *settings))
    assert sum(on_device) > 20
    assert ours.keys() == theirs.keys()
    methods = {step["name"] for sample in ours.values() for step in sample["json"]["augment"]["steps"]}
    assert len(methods) > 3
    far = 0
    for key, sample in ours.items():
        about, expected = sample["json"], theirs[key]["json"]
        np.testing.assert_allclose(about.pop("box"), expected.pop("box"), atol=1.5)  # found in a shrunk frame
        np.testing.assert_allclose(about.pop("detect_prob"), expected.pop("detect_prob"), atol=0.01)
        assert about == expected
        face, other = (s["face.jpg"].astype(float) for s in (sample, theirs[key]))
        far += np.abs(face - other).mean() > 2  # a box that moved by a pixel
        assert abs(sample["mri.png"].mean() - theirs[key]["mri.png"].mean()) < 8
        assert sample["mri.png"].any() == (about["label"] == "fake")
    assert far <= len(ours) / 4


def test_a_family_that_dali_hands_over_and_fails_at(catalog: Path, monkeypatch: pytest.MonkeyPatch,
                                                    tmp_path: Path) -> None:  # fmt: skip
    """Frames that are tensors already, as DALI's are on a GPU; and their copies of what PyAV then decodes."""
    from mrigan.video import DecoderError

    class Failing(OnDevice):
        def decode(self, path, needed=None):
            for i, decoded in enumerate(PyAvSource().decode(path, needed)):
                if i == 3:
                    raise DecoderError("broken", where=str(path))
                image = to_device(decoded.frame().image, "cpu")
                yield Decoded(decoded.index, decoded.time, image, lambda picture: picture)

    plan = plan_shards(catalog, config(*SETTINGS), tmp_path / "set")
    family = next(f for unit in plan.units for f in unit.families if f.fakes)
    expected = family_samples(family, Tools(plan), Stages())
    monkeypatch.setattr(tools, "family_source", lambda config, paths: Failing(PyAvSource(), "cpu"))
    found = family_samples(family, Tools(plan), Stages())
    assert [x.members for x in found if isinstance(x, Sample)] == [x.members for x in expected if isinstance(x, Sample)]
    assert any(isinstance(item, Sample) for item in found)


def test_a_still_goes_to_the_device(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_shards(catalog, config(*SETTINGS), tmp_path / "set")
    plan.config.video.device = "meta"  # torch's device that is always there and holds nothing
    still = Tools(plan).placed(Frame(0, 0.0, portraits()[0].image))
    assert still.image.device.type == "meta"
    assert tuple(still.image.shape) == portraits()[0].image.shape


def test_the_way_of_the_frames_is_part_of_a_gpus_plan(catalog: Path, tmp_path: Path) -> None:
    plan = plan_shards(catalog, config("video.device=cuda", "video.decoder=pyav"), tmp_path / "set")
    about = json.loads(plan.layout.plan.read_text())
    assert about["decides"]["config"]["video"]["pictures"] == "torch"
