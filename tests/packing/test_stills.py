"""Pictures in a catalog (FFHQ, FDF): real faces, with a black MRI among pairs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import webdataset

from mrigan.catalog import Catalog, Clip, write_catalog
from mrigan.imaging.encoding import decode, encode
from mrigan.packing import build_shards, plan_shards, read_rows, verify_shards
from mrigan.video import crop, resize_face
from tests.packing.conftest import config
from tests.packing.videos import portraits


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two portraits, a picture without a face, and one that is cut off."""
    folder = tmp_path_factory.mktemp("stills")
    collins, hopper = (portrait.image for portrait in portraits())
    small = cv2.resize(collins[30:230, 110:310], (128, 128), interpolation=cv2.INTER_AREA)  # as FDF's
    cv2.imwrite(str(folder / "collins.png"), small[..., ::-1])
    cv2.imwrite(str(folder / "hopper.jpg"), hopper[..., ::-1])
    cv2.imwrite(str(folder / "empty.png"), np.full((64, 64, 3), 90, np.uint8))
    (folder / "broken.png").write_bytes((folder / "collins.png").read_bytes()[:900])
    clips = [Clip("ffhq", "original", "", path.stem, path.name, "real", split="train")
             for path in sorted(folder.iterdir())]  # fmt: skip
    write_catalog(Catalog(folder, clips), folder / "catalog.parquet")
    return folder / "catalog.parquet"


@pytest.mark.parametrize("kind", ["pairs", "faces"])
def test_stills_are_real_faces(catalog: Path, tmp_path: Path, kind: str) -> None:
    plan = plan_shards(catalog, config(f"pack.kind={kind}"), tmp_path / "shards")
    assert len(plan.units) == 1
    build_shards(tmp_path / "shards", workers=1)
    assert verify_shards(tmp_path / "shards") == []
    rows = {row["name"]: row for row in read_rows(tmp_path / "shards" / "samples.parquet").to_pylist()}
    assert {name: row["status"] for name, row in rows.items()} == {
        "collins": "ok", "hopper": "ok", "empty": "dropped", "broken": "failed",
    }  # fmt: skip
    assert rows["empty"]["reason"] == "no_face"
    assert rows["broken"]["reason"].startswith("unreadable: not a readable picture")

    samples = {}
    for sample in webdataset.WebDataset(str(tmp_path / "shards" / "train-real-000000.tar"), shardshuffle=False):
        samples[json.loads(sample["json"])["clip"]] = sample
    assert set(samples) == {"ffhq/original/-/collins", "ffhq/original/-/hopper"}
    for name, sample in samples.items():
        about = json.loads(sample["json"])
        assert (about["frame"], about["time"], about["label"], about["original"]) == (0, 0.0, "real", None)
        assert about["mri"] == ("black" if kind == "pairs" else "none")
        assert about["augment"] == {}
        path = next(path for path in catalog.parent.iterdir() if path.stem == name.split("/")[-1])
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]
        assert about["frame_size"] == [image.shape[1], image.shape[0]]
        face = decode(sample["face.jpg"])
        ours = decode(encode(resize_face(crop(np.ascontiguousarray(image), about["box"]), 256), "jpg"))
        assert face is not None
        assert ours is not None
        assert np.abs(face.astype(int) - ours).mean() < 1.5  # two decoders of one JPEG
        if kind == "pairs":
            mri = decode(sample["mri.jpg"])
            assert mri is not None
            assert mri.shape == (256, 256, 3)
            assert not mri.any()
        else:
            assert not [part for part in sample if part.startswith("mri")]


def test_a_still_is_one_sample_of_a_plan(tmp_path: Path) -> None:
    """300 stills are one shard's worth of samples; 300 clips, 30 samples each, are thirty."""
    for suffix, units in (("png", 1), ("mp4", 30)):
        clips = [Clip("ffhq", "original", "", f"{i:05d}", f"{i:05d}.{suffix}", "real", split="train")
                 for i in range(300)]  # fmt: skip
        catalog = Catalog(tmp_path, clips)
        write_catalog(catalog, tmp_path / f"{suffix}.parquet")
        plan = plan_shards(tmp_path / f"{suffix}.parquet", config("pack.shard_samples=300"), tmp_path / suffix)
        assert len(plan.units) == units
