"""Sets whose faces are cut as other people's detectors want them: aligned, letterboxed, so many frames a clip."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from facenet_pytorch import MTCNN

from mrigan.errors import ConfigError
from mrigan.packing import plan_shards
from mrigan.shardset.rows import read_rows
from mrigan.video import read_frames
from mrigan.video.crops import aligned
from tests.packing.conftest import Built, config, make, two_families

FACES = ["pack.kind=faces", "pack.splits=[val]", "faces.long_side=0"]


def test_aligned_faces_of_eight_frames(built: Built, tmp_path: Path) -> None:
    """Of fakes the original's points are used, as its box is."""
    cut = ["faces.align=points5", "faces.frames=8", "faces.size=96", "faces.max_persons=1"]
    folder = make(plan_shards(two_families(built, tmp_path), config(*FACES, *cut), tmp_path / "shards"))
    rows = [row for row in read_rows(folder / "samples.parquet").to_pylist() if row["status"] == "ok"]
    frames = defaultdict(set)
    for row in rows:
        frames[row["name"]].add(row["frame"])
    assert len(frames) == 2
    for name, indices in frames.items():
        clip = next(built.clips.path(clip) for clip in built.clips.clips if clip.name == name)
        total = sum(1 for _ in read_frames(clip, every=1))
        assert indices <= {int(i * (total - 1) / 7) for i in range(8)}
        assert len(indices) > 4
    samples = [sample for path in sorted(folder.glob("*.tar"))
               for sample in webdataset.WebDataset(str(path), shardshuffle=False).decode("rgb8")]  # fmt: skip
    assert {sample["json"]["label"] for sample in samples} == {"real", "fake"}
    torch.manual_seed(0)
    mtcnn = MTCNN(thresholds=[0.85, 0.95, 0.95])
    for sample in samples[:2] + samples[-2:]:
        about = sample["json"]
        fake = next(clip for clip in built.clips.clips if clip.id == about["clip"])
        shown = built.clips.path(fake)
        found = next(built.clips.path(clip) for clip in built.clips.clips if clip.id == (about["original"] or fake.id))
        searched, image = (
            next(frame.image for frame in read_frames(path, indices=[about["frame"]])) for path in (found, shown)
        )
        _, _, points = mtcnn.detect(searched, landmarks=True)
        difference = aligned(image, points[0], 96, 1.3).astype(int) - sample["face.jpg"]
        assert np.abs(difference).mean() < 2  # JPEG, and points that are rounded


def test_a_cut_that_does_not_go_with_other_settings_is_refused(built: Built, tmp_path: Path) -> None:
    for settings, what in (
        (("faces.align=points5", "recipe.share=.3"), "treated faces"),
        (("faces.align=points5", "faces.landmarks=mesh"), "landmarks"),
        (("faces.resize=letterbox", "faces.landmarks=mesh"), "landmarks"),
    ):
        with pytest.raises(ConfigError, match=what):
            plan_shards(built.catalog, config(*settings), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_the_settings_at_their_defaults_change_no_plan(built: Built, tmp_path: Path) -> None:
    before = plan_shards(built.catalog, config(), tmp_path / "a").hash
    spelled = ["faces.frames=0", "faces.shrink=1", "faces.crop=truncate", "faces.align=none", "faces.align_scale=1.3"]
    assert plan_shards(built.catalog, config(*spelled), tmp_path / "b").hash == before
    for number, changed in enumerate(("faces.frames=32", "faces.shrink=2", "faces.crop=widen", "faces.align=points5")):
        assert plan_shards(built.catalog, config(changed), tmp_path / f"c{number}").hash != before
