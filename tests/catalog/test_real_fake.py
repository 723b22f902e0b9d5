"""Faces in real/ and fake/: labels, methods, what stays together, splits by folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrigan.catalog import scan_catalog
from mrigan.errors import CatalogError, ConfigError


def fill(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def test_labels_methods_and_groups(tmp_path: Path) -> None:
    clips_of_two = [f"real/clip{i}_{k}.png" for i in range(12) for k in range(2)]
    fakes = ["fake/swap/clip3/000.png", "fake/swap/clip3/001.PNG", "fake/ghost/lone.webp", "fake/v.mp4", "fake/x.txt"]
    root = fill(tmp_path / "set", *clips_of_two, *fakes, "real/deep/a/1.jpg", "other/y.png")
    catalog, result = scan_catalog("folder", root)
    clips = {clip.path: clip for clip in catalog.clips}
    assert len(clips) == 24 + 1 + 2 + 1 + 1
    assert {clip.dataset for clip in catalog.clips} == {"set"}
    assert clips["real/clip3_0.png"].label == "real"
    assert clips["real/clip3_0.png"].method == "original"
    assert (clips["fake/swap/clip3/000.png"].label, clips["fake/swap/clip3/000.png"].method) == ("fake", "swap")
    assert clips["fake/ghost/lone.webp"].method == "ghost"
    assert clips["fake/v.mp4"].method == "fake"
    assert clips["real/deep/a/1.jpg"].group == "deep/a"
    together = ["real/clip3_0.png", "real/clip3_1.png", "fake/swap/clip3/000.png", "fake/swap/clip3/001.PNG"]
    assert {clips[path].group for path in together} == {"clip3"}
    assert len({clips[path].split for path in together}) == 1
    assert {problem.reason: problem.count for problem in result.problems} == {
        "skipped: neither a clip nor a list": 1,
        "skipped: folders without the name of a label or a split": 1,
    }
    assert any("originals are unknown" in note for note in result.notes)


def test_names_that_differ_in_a_number_only_say_nothing(tmp_path: Path) -> None:
    root = fill(tmp_path, *(f"{label}/img_{i:04d}.jpg" for label in ("real", "fake") for i in range(30)))
    catalog, result = scan_catalog("folder", root)
    assert {clip.group for clip in catalog.clips} == {""}
    assert {clip.split for clip in catalog.clips} == {"train", "val", "test"}
    assert any("60 files have no group" in note for note in result.notes)


def test_folders_of_splits_are_used_where_all_lie_below_them(tmp_path: Path) -> None:
    names = ("train/real/a.png", "train/fake/b.png", "valid/Real/c.png", "test/1_fake/d.png")
    catalog, result = scan_catalog("folder", fill(tmp_path / "whole", *names))
    assert result.official
    assert {clip.path: clip.split for clip in catalog.clips} == dict(
        zip(names, ("train", "train", "val", "test"), strict=True)
    )
    _, mixed = scan_catalog("folder", fill(tmp_path / "mixed", *names, "real/e.png"))
    assert not mixed.official
    assert any("not used as splits" in note for note in mixed.notes)


def test_what_is_no_such_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no clips found") as error:
        scan_catalog("folder", fill(tmp_path / "a", "left/x.png"))
    assert "ROOT/real and ROOT/fake" in str(error.value.fix)
    with pytest.raises(ConfigError, match="has no official lists"):
        scan_catalog("folder", fill(tmp_path / "b", "real/x.png"), splits=tmp_path)
    outside = fill(tmp_path / "outside", "x.png")
    (tmp_path / "b" / "fake").symlink_to(outside)
    with pytest.raises(CatalogError, match="leads out"):
        scan_catalog("folder", tmp_path / "b")
