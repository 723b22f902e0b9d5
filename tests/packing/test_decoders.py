"""Shards from clips that DALI decodes: the same samples as PyAV's, in one decoder's colours throughout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrigan.catalog import Catalog, Clip, clip_id, write_catalog
from mrigan.config import ShardsConfig, load_config
from mrigan.errors import ConfigError
from mrigan.packing import load_plan, plan_shards, tools
from mrigan.video import FaceDetector, faces_key
from mrigan.video.tracks import iou
from tests.clips import write_clip
from tests.packing import sets
from tests.packing.videos import portraits
from tests.video.test_source import damaged

pytest.importorskip("nvidia.dali")

CODECS = {
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"crf": "8", "b": "0", "deadline": "realtime", "cpu-used": "8"}},
    "jpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "options": {"qmin": "1", "qmax": "2"}},
}


def write_family(root: Path, name: str) -> Path:
    """An original and a fake of 21 frames; returns the catalog."""
    root.mkdir()
    person, suffix = portraits()[0], Path(name).suffix
    for stem, forged in (("real", False), ("fake", True)):
        write_clip(root / f"{stem}{suffix}", person.frames(21, forged=forged), **CODECS[name])
    original = clip_id("toy", "original", "", "real")
    clips = [
        Clip("toy", "original", "", "real", f"real{suffix}", "real", split="train"),
        Clip("toy", "swap", "", "fake", f"fake{suffix}", "fake", original=original, split="train"),
    ]
    write_catalog(Catalog(root, clips), root / "catalog.parquet")
    return root / "catalog.parquet"


def samples(catalog: Path, out: Path, *settings: str) -> dict[str, tuple[np.ndarray, np.ndarray, dict]]:
    """Key → face, MRI and json."""
    config = load_config(ShardsConfig, "shards/pairs.yaml", ["pack.mri_format=png", *settings])
    return {key: (m["face.jpg"], m["mri.png"], m["json"]) for key, m in sets.samples(catalog, out, config).items()}


@pytest.mark.parametrize("name", CODECS)
def test_a_set_by_dali_holds_the_samples_of_one_by_pyav(tmp_path: Path, name: str) -> None:
    catalog = write_family(tmp_path / "clips", name)
    ours = samples(catalog, tmp_path / "dali", "video.decoder=dali")
    theirs = samples(catalog, tmp_path / "pyav", "video.decoder=pyav")
    assert sorted(ours) == sorted(theirs)
    assert len(ours) == 6
    for key, (face, mri, about) in ours.items():
        other_face, other_mri, other = theirs[key]
        assert iou(about["box"], other["box"]) > 0.85  # MTCNN turns the last bits of a colour into some px of a box
        assert about["time"] == other["time"]
        assert np.corrcoef(face.ravel(), other_face.ravel())[0, 1] > 0.85
        assert abs(mri.mean() - other_mri.mean()) < 8
        assert mri.any() == (about["label"] == "fake")
    again = samples(catalog, tmp_path / "again", "video.decoder=dali")
    for key, (face, mri, _) in again.items():
        np.testing.assert_array_equal(face, ours[key][0])
        np.testing.assert_array_equal(mri, ours[key][1])


def test_a_family_that_dali_fails_at_is_pyavs_altogether(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake breaks in the middle: what DALI had decoded of the original is not used beside PyAV's frames."""
    from mrigan.video.dali import DaliSource

    catalog = write_family(tmp_path / "clips", "jpeg.mov")
    damaged(tmp_path / "clips" / "fake.mov")
    expected = samples(catalog, tmp_path / "pyav")
    reads: list[str] = []

    class Watched(DaliSource):
        def decode(self, path, needed=None):
            reads.append(Path(path).name)
            return (yield from super().decode(path, needed))

    monkeypatch.setattr(tools, "family_source", lambda config, paths: Watched("cpu"))  # as `auto` has it on a GPU
    found = samples(catalog, tmp_path / "auto")
    assert reads == ["real.mov", "fake.mov"]
    assert sorted(found) == sorted(expected)
    assert len(found) == 5  # the damaged frame is missing
    for key, (face, mri, about) in found.items():
        np.testing.assert_array_equal(face, expected[key][0])
        np.testing.assert_array_equal(mri, expected[key][1])
        assert about == expected[key][2]


def test_the_decoder_is_part_of_a_plan_where_it_matters(tmp_path: Path) -> None:
    catalog = write_family(tmp_path / "clips", "vp9.webm")

    def plan_hash(*settings: str) -> str:
        out = tmp_path / "-".join(settings or ("default",)).replace(".", "")
        plan_shards(catalog, load_config(ShardsConfig, "shards/pairs.yaml", list(settings)), out)
        return load_plan(out).hash

    assert plan_hash() == plan_hash("video.decoder=pyav")
    others = {plan_hash("video.decoder=dali"), plan_hash("video.device=cuda")}
    assert len(others | {plan_hash()}) == 3
    clip = tmp_path / "clips" / "real.webm"
    config = load_config(ShardsConfig, "shards/pairs.yaml", []).faces
    assert faces_key(clip, "a", config) == faces_key(clip, "a", config, "pyav on cpu")
    assert faces_key(clip, "a", config) != faces_key(clip, "a", config, "dali on cpu")


def test_a_gpu_that_is_not_there_is_said_so() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    config = load_config(ShardsConfig, "shards/pairs.yaml", []).faces
    with pytest.raises(ConfigError, match="no GPU"):
        FaceDetector(config, "cuda")
