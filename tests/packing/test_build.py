"""What a build stores, drops and counts, from real files; each MRI against scikit-image."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import webdataset
from PIL import Image, JpegImagePlugin
from skimage.metrics import structural_similarity

from mrigan.catalog import Catalog, Clip, write_catalog
from mrigan.errors import ShardError
from mrigan.packing import build_shards, plan_shards, read_rows
from mrigan.video import crop, resize_face
from tests.clips import write_clip
from tests.packing.conftest import PNG, Built, config, tree
from tests.packing.videos import SHARP, portraits

LONG, SHORT = range(0, 31, 3), range(0, 21, 3)  # sampled frames


@pytest.fixture(scope="module")
def rows(built: Built) -> list[dict[str, Any]]:
    return read_rows(built.folder / "samples.parquet").to_pylist()


@pytest.fixture(scope="module")
def samples(built: Built) -> dict[str, dict[str, bytes]]:
    """Stored samples by key, read by plain webdataset."""
    urls = sorted(str(path) for path in built.folder.glob("*.tar"))
    return {s["__key__"]: s for s in webdataset.WebDataset(urls, shardshuffle=False)}


def frames(path: Path) -> list[np.ndarray]:
    """All frames, decoded by PyAV alone."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def by_clip(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["name"] == name]


def test_every_clip_has_its_rows(built: Built, rows: list[dict[str, Any]]) -> None:
    assert {row["clip"] for row in rows} == {clip.id for clip in built.clips.clips}
    kinds = {name: Counter((row["status"], row["reason"].split(":")[0]) for row in by_clip(rows, name))
             for name in {row["name"] for row in rows}}  # fmt: skip
    assert kinds["collins"] == {("ok", ""): len(LONG)}
    assert kinds["collins-swap"] == {("ok", ""): len(LONG)}
    assert kinds["collins-same"] == {("dropped", "unchanged"): len(LONG)}
    assert kinds["collins-shifted"] == {("dropped", "misaligned"): len(LONG)}
    assert kinds["hopper-swap"] == {("ok", ""): len(SHORT)}
    assert kinds["hopper-empty"] == {("failed", "unreadable"): 1}
    assert kinds["hopper-cut"][("failed", "unreadable")] == 1
    assert 0 < kinds["hopper-cut"][("ok", "")] < len(SHORT)
    assert kinds["broken"] == {("failed", "unreadable"): 1}
    assert kinds["broken-swap"] == kinds["orphan"] == {("dropped", "missing_original"): 1}
    assert kinds["blank"] == kinds["blank-swap"] == {("dropped", "no_face"): 1}


def test_a_late_fake_is_paired_with_the_right_moments(rows: list[dict[str, Any]]) -> None:
    late = by_clip(rows, "collins-late")  # shows one moment earlier what the original shows
    assert [row["frame"] for row in late if row["status"] == "ok"] == [i - 1 for i in LONG if i]
    assert [row["time"] for row in late if row["status"] == "ok"] == pytest.approx([(i - 1) / 25 for i in LONG if i])
    assert [(row["frame"], row["reason"]) for row in late if row["status"] != "ok"] == [(0, "misaligned")]


def test_the_summary_counts_all(built: Built, rows: list[dict[str, Any]]) -> None:
    summary = built.summary
    assert (summary.families, summary.clips, summary.units) == (6, 16, 6)
    assert summary.stored == summary.built == sum(row["status"] == "ok" for row in rows)
    assert summary.dropped == Counter(row["reason"] for row in rows if row["status"] == "dropped")
    assert {clip.split("/")[-1] for clip, _ in summary.failed} == {"hopper-empty", "hopper-cut", "broken"}
    assert set(summary.seconds) == {"decode", "detect", "pair", "crop", "mri", "encode", "write"}
    manifest = json.loads((built.folder / "manifest.json").read_text())
    assert manifest["rows"] == len(rows)
    assert manifest["splits"]["train"] == {label: summary.samples["train", label] for label in ("fake", "real")}
    assert manifest["samples_sha256"] == hashlib.sha256((built.folder / "samples.parquet").read_bytes()).hexdigest()


def test_offsets_and_crcs_lead_to_the_members(built: Built, rows: list[dict[str, Any]],
                                              samples: dict[str, dict[str, bytes]]) -> None:  # fmt: skip
    stored = [row for row in rows if row["status"] == "ok"]
    assert {row["key"] for row in stored} == samples.keys()
    for row in stored:
        data = (built.folder / row["shard"]).read_bytes()
        sample = samples[row["key"]]
        for part, member in (("face", "face.jpg"), ("mri", "mri.png"), ("json", "json")):
            offset = row[f"{part}_offset"]
            assert data[offset : offset + row[f"{part}_size"]] == sample[member]
        assert row["shard"].startswith(f"{row['split']}-{row['label']}-")


def test_a_sample_tells_where_it_comes_from(built: Built, samples: dict[str, dict[str, bytes]]) -> None:
    clips = {clip.id: clip for clip in built.clips.clips}
    for key, sample in samples.items():
        about = json.loads(sample["json"])
        clip = clips[about["clip"]]
        assert list(about) == ["clip", "label", "person", "frame", "time", "box", "frame_size", "detect_prob",
                               "original", "targets", "donors", "split", "mri", "augment", "landmarks"]  # fmt: skip
        assert key == f"{hashlib.sha1(clip.id.encode()).hexdigest()[:12]}-{about['frame']:06d}-{about['person']:02d}"
        assert (about["label"], about["split"], about["original"]) == (clip.label, clip.split, clip.original)
        assert about["mri"] == ("black" if clip.label == "real" else "ssim")
        assert about["frame_size"] == [320, 240]
        assert about["time"] == pytest.approx(about["frame"] / 25)


def test_no_unit_has_two_splits(rows: list[dict[str, Any]]) -> None:
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["family"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in sides.values())
    assert {row["split"] for row in rows} == {"train", "val"}


def test_each_mri_is_that_of_its_own_face(built: Built, rows: list[dict[str, Any]],
                                          samples: dict[str, dict[str, bytes]]) -> None:  # fmt: skip
    """A known error of others: results taken by the index in the whole list instead of the batch."""
    root = built.clips.root
    for name, source in (("collins-swap", "collins"), ("smith-swap", "smith")):
        originals, fakes = frames(root / f"{source}.mp4"), frames(root / f"{name}.mp4")
        stored = by_clip(rows, name)
        assert len(stored) >= len(SHORT)
        for row in stored:
            about = json.loads(samples[row["key"]]["json"])
            x0, y0, x1, y1 = (int(v) for v in about["box"])
            dx, dy = int(0.1 * (x1 - x0)), int(0.1 * (y1 - y0))
            a, b = (cv2.resize(image[max(y0 - dy, 0) : y1 + dy, max(x0 - dx, 0) : x1 + dx], (256, 256),
                               interpolation=cv2.INTER_AREA)
                    for image in (originals[row["frame"]], fakes[row["frame"]]))  # fmt: skip
            _, similarity = structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                                  full=True, channel_axis=-1, data_range=255)  # fmt: skip
            expected = np.clip((1 - similarity) * 255, 0, 255)
            mri = np.asarray(Image.open(BytesIO(samples[row["key"]]["mri.png"])))
            assert np.abs(mri - expected).max() <= 1
            assert row["mri_mean"] == pytest.approx(expected.mean(), abs=0.5)
            assert row["mri_mean"] > 5
            face = np.asarray(Image.open(BytesIO(samples[row["key"]]["face.jpg"])), np.float32)
            assert np.abs(face - b).mean() < 2


def test_faces_are_jpegs_without_chroma_subsampling(samples: dict[str, dict[str, bytes]]) -> None:
    oracle = BytesIO()
    Image.new("RGB", (8, 8)).save(oracle, "JPEG", quality=95)
    for sample in samples.values():
        face = Image.open(BytesIO(sample["face.jpg"]))
        assert isinstance(face, JpegImagePlugin.JpegImageFile)
        assert (JpegImagePlugin.get_sampling(face), face.size) == (0, (256, 256))
        assert face.quantization == Image.open(oracle).quantization


def test_a_real_face_has_a_black_mri(rows: list[dict[str, Any]], samples: dict[str, dict[str, bytes]]) -> None:
    for row in (row for row in rows if row["status"] == "ok" and row["label"] == "real"):
        data = samples[row["key"]]["mri.png"]
        assert len(data) <= 939
        assert not np.asarray(Image.open(BytesIO(data))).any()
        assert row["mri_mean"] == 0


def test_the_videos_are_as_they_were(built: Built) -> None:
    """A known error of others: preprocessing that deletes or rewrites its sources."""
    files = sorted(path.name for path in built.clips.root.iterdir())
    assert files == sorted(clip.path for clip in built.clips.clips)
    begun = (built.folder / "plan.json").stat().st_mtime
    assert all(path.stat().st_mtime <= begun for path in built.clips.root.iterdir())


def test_two_workers_make_the_same_bytes(built: Built, tmp_path: Path) -> None:
    plan_shards(built.catalog, config(*PNG), tmp_path / "two")
    build_shards(tmp_path / "two", workers=2)
    assert tree(tmp_path / "two") == tree(built.folder)


def test_faces_of_all_clips_with_detections_that_are_known(built: Built, tmp_path: Path) -> None:
    shared = ["pack.kind=faces", "faces.every=3", f"pack.faces_dir={tmp_path / 'faces'}"]
    plan_shards(built.catalog, config(*shared), tmp_path / "a")
    build_shards(tmp_path / "a", workers=2)
    rows = read_rows(tmp_path / "a" / "samples.parquet").to_pylist()
    stored = Counter(row["name"] for row in rows if row["status"] == "ok")
    assert stored["collins"] == stored["collins-swap"] == stored["collins-shifted"] == len(LONG)
    assert stored["collins-same"] == stored["blank"] == stored["blank-swap"] == 0
    assert stored["orphan"] == stored["broken-swap"] == 4
    members = {
        extension
        for path in (tmp_path / "a").glob("*.tar")
        for s in webdataset.WebDataset(str(path), shardshuffle=False)
        for extension in s
        if extension[0] != "_"
    }
    assert members == {"face.jpg", "json"}
    assert {row["mri_offset"] for row in rows} == {-1}
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert (manifest["kind"], manifest["mri"]) == ("faces", None)
    # Another size of the faces finds the same detections.
    plan_shards(built.catalog, config(*shared, "faces.size=64", "pack.splits=[val]"), tmp_path / "b")
    again = build_shards(tmp_path / "b", workers=1)
    assert "detect" not in again.seconds
    assert again.stored == 2 * len(SHORT)


def test_nothing_to_store_is_an_error_with_its_reasons(built: Built, tmp_path: Path) -> None:
    bad = [clip for clip in built.clips.clips if clip.name.startswith(("broken", "blank", "orphan"))]
    write_catalog(Catalog(built.clips.root, bad), tmp_path / "catalog.parquet")
    plan_shards(tmp_path / "catalog.parquet", config(), tmp_path / "out")
    with pytest.raises(ShardError) as error:
        build_shards(tmp_path / "out", workers=1)
    assert all(reason in error.value.what for reason in ("2 missing_original", "2 no_face", "1 unreadable"))
    assert read_rows(tmp_path / "out" / "samples.parquet").num_rows == len(bad)


def test_videos_that_are_not_there_are_an_error(built: Built, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    write_catalog(Catalog(tmp_path / "gone", built.clips.clips), tmp_path / "catalog.parquet")
    plan_shards(tmp_path / "catalog.parquet", config(), tmp_path / "out")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ShardError, match="not there"):
        build_shards(tmp_path / "out")
    with pytest.raises(ShardError, match="no shard plan"):
        build_shards(tmp_path / "nowhere")


def test_boxes_are_in_the_pixels_of_their_own_clip(built: Built, tmp_path: Path) -> None:
    """Fakes that are cut out of their original, or larger than it, as in FaceForensics."""
    root, (portrait, _) = tmp_path / "videos", portraits()
    root.mkdir()
    original, forged = portrait.frames(11), portrait.frames(11, forged=True)
    write_clip(root / "o.mp4", original, options=SHARP)
    write_clip(root / "cut.mp4", [image[6:-6, 10:-10] for image in forged], options=SHARP)
    write_clip(root / "large.mp4", [cv2.resize(image, (480, 360)) for image in forged], options=SHARP)
    real = Clip("d", "original", "", "o", "o.mp4", "real", split="train")
    fakes = [Clip("d", "swap", "", name, f"{name}.mp4", "fake", real.id, split="train") for name in ("cut", "large")]
    write_catalog(Catalog(root, [real, *fakes]), tmp_path / "catalog.parquet")
    plan_shards(tmp_path / "catalog.parquet", config(), tmp_path / "out")
    assert build_shards(tmp_path / "out", workers=1).samples == {("train", "real"): 2, ("train", "fake"): 4}
    sizes = {"o": [320, 240], "cut": [300, 228], "large": [480, 360]}
    for sample in webdataset.WebDataset([str(path) for path in (tmp_path / "out").glob("*.tar")], shardshuffle=False):
        about = json.loads(sample["json"])
        name = about["clip"].split("/")[-1]
        assert about["frame_size"] == sizes[name]
        image = frames(root / f"{name}.mp4")[about["frame"]]
        face = resize_face(crop(image, about["box"]))
        stored = np.asarray(Image.open(BytesIO(sample["face.jpg"])), np.float32)
        assert np.abs(face - stored).mean() < (6 if name == "large" else 3)  # the large one was scaled, then cut
