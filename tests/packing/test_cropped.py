"""faces.cropped: pictures that are faces already are stored whole, and judged as they were stored."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mrigan.catalog import scan_catalog, write_catalog
from mrigan.errors import ConfigError
from mrigan.imaging.encoding import decode, encode
from mrigan.packing import build_shards, plan_shards
from mrigan.scoring.face_settings import face_settings
from mrigan.video import resize_face
from tests.clips import write_clip
from tests.packing.conftest import config
from tests.packing.sets import samples
from tests.packing.videos import portraits


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Cut faces of two people, a noise that no detector takes for a face, and a video of a cut face."""
    for name, portrait in zip(("real/collins", "fake/hopper"), portraits(), strict=True):
        (x0, y0, x1, y1), path = portrait.face, tmp_path / "crops" / f"{name}.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), portrait.image[y0:y1, x0:x1, ::-1])
    noise = np.random.default_rng(0).integers(0, 255, (60, 50, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "crops/fake/noise.png"), noise)
    frames = [np.ascontiguousarray(frame[50:160, 110:198]) for frame in portraits()[0].frames(1) * 12]
    write_clip(tmp_path / "crops/real/video.mp4", frames, options={"crf": "5"})
    write_catalog(scan_catalog("folder", tmp_path / "crops", fractions={"train": 1, "val": 0, "test": 0})[0],
                  tmp_path / "catalog.parquet")  # fmt: skip
    return tmp_path / "catalog.parquet"


def test_every_picture_is_one_face_whole(catalog: Path, tmp_path: Path) -> None:
    found = samples(catalog, tmp_path / "shards", config("pack.kind=faces", "faces.cropped=true"))
    by_clip: dict[str, list[dict]] = {}
    for sample in found.values():
        by_clip.setdefault(sample["json"]["clip"].rsplit("/", 1)[-1], []).append(sample)
    assert {name: len(of) for name, of in by_clip.items()} == {
        "collins.png": 1, "hopper.png": 1, "noise.png": 1, "video.mp4": 2,
    }  # fmt: skip
    for name in ("real/collins", "fake/hopper", "fake/noise"):
        image = cv2.imread(str(tmp_path / "crops" / f"{name}.png"))[..., ::-1]
        (sample,) = by_clip[f"{name.rsplit('/', 1)[-1]}.png"]
        h, w = image.shape[:2]
        assert sample["json"]["box"] == [0, 0, w, h]
        assert sample["json"]["frame_size"] == [w, h]
        stored = decode(encode(resize_face(np.ascontiguousarray(image), 256), "jpg", 95))
        assert np.array_equal(sample["face.jpg"][..., ::-1], stored)


def test_without_the_setting_a_cut_face_is_cut_again(catalog: Path, tmp_path: Path) -> None:
    plain = samples(catalog, tmp_path / "shards", config("pack.kind=faces", "faces.long_side=0"))
    assert all(sample["json"]["clip"] != "crops/fake/-/fake/noise.png" for sample in plain.values())


def test_sets_that_were_cut_differently_are_not_mixed(catalog: Path, tmp_path: Path) -> None:
    for name, cropped in (("whole", "true"), ("found", "false")):
        plan_shards(catalog, config("pack.kind=faces", f"faces.cropped={cropped}"), tmp_path / name)
        build_shards(tmp_path / name, workers=1)
    assert face_settings([tmp_path / "whole"])["cropped"] is True
    with pytest.raises(ConfigError, match="were cut by different settings"):
        face_settings([tmp_path / "whole", tmp_path / "found"])
