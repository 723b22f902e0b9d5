"""Fakes from another moment than their index says, before a camera on a tripod, from videos to stored rows."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrigan.catalog import Catalog, Clip, clip_id, write_catalog
from mrigan.config import ShardsConfig, load_config
from mrigan.packing import plan_shards, shard_stats
from mrigan.packing.stats_view import show
from mrigan.shardset.layout import Layout
from mrigan.shardset.rows import read_rows
from tests.clips import write_clip
from tests.packing.conftest import make
from tests.packing.videos import SIZE, portraits

COUNT = 51
FAKES = {  # moments of the original that a fake shows, and whether its face is forged
    "ok": (range(COUNT), True),
    "late": (range(7, COUNT + 7), True),
    "reversed": (range(COUNT)[::-1], True),
    "slow": ([int(i / 1.15) for i in range(COUNT)], True),
    "sound0": (range(COUNT), False),
    "sound1": (range(1, COUNT + 1), False),
    "sound3": (range(3, COUNT + 3), False),
}


def tripod(moments, forged: bool, noise: np.random.Generator) -> list[np.ndarray]:
    """A person who moves inside an ellipse; the outer part of the picture rests, but for the camera's noise."""
    w, h = SIZE
    y, x = np.mgrid[:h, :w]
    inside = np.clip(1.5 - 1.5 * (((x - w / 2) / (w * 0.37)) ** 2 + ((y - h / 2) / (h * 0.37)) ** 2) ** 2, 0, 1)
    rest = portraits()[0].frames(1, start=20)[0]
    every = portraits()[0].frames(max(moments) + 1, forged=forged)
    mixed = (rest + inside[..., None] * (every[i].astype(float) - rest) for i in moments)
    return [np.clip(image + noise.normal(0, 2, image.shape), 0, 255).astype(np.uint8) for image in mixed]


def write_set(root: Path, clips: dict[str, list[np.ndarray]]) -> Path:
    """A family: the clip `original` and fakes of it; returns the catalog."""
    root.mkdir()
    original = clip_id("toy", "original", "", "original")
    rows = [Clip("toy", "original", "", "original", "original.mp4", "real", split="train")]
    for name, frames in clips.items():
        write_clip(root / f"{name}.mp4", frames, options={"crf": "18", "preset": "fast"})
        if name != "original":
            rows.append(Clip("toy", name, "", name, f"{name}.mp4", "fake", original=original, split="train"))
    write_catalog(Catalog(root, rows), root / "catalog.parquet")
    return root / "catalog.parquet"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = np.random.default_rng(0)
    clips = {"original": tripod(range(COUNT), False, noise)}
    clips |= {name: tripod(moments, forged, noise) for name, (moments, forged) in FAKES.items()}
    return write_set(tmp_path_factory.mktemp("tripod") / "clips", clips)


def built(catalog: Path, *settings: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a set, by clip."""
    out = catalog.parent.parent / "-".join(["set", *settings]).replace("/", "_")
    faces = f"pack.faces_dir={catalog.parent.parent / 'faces'}"
    plan = plan_shards(catalog, load_config(ShardsConfig, "shards/pairs.yaml", [faces, *settings]), out)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(Layout(make(plan)).samples).to_pylist():
        rows.setdefault(row["name"], []).append(row)
    return rows


def reasons(rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["status"], row["reason"]) for row in rows}


def test_pairs_show_one_moment_or_are_dropped(catalog: Path) -> None:
    rows = built(catalog)
    stored = {name: [row["frame"] for row in rows[name] if row["status"] == "ok"] for name in rows}
    assert stored["original"] == stored["ok"] == list(range(0, COUNT, 10))
    assert stored["late"] == [i - 7 for i in range(10, COUNT, 10)]  # moment 0 is not in it
    assert not any(stored[name] for name in FAKES if name not in {"ok", "late"})
    assert reasons(rows["reversed"]) == reasons(rows["slow"]) == {("dropped", "misaligned")}
    assert reasons(rows["sound0"]) == {("dropped", "unchanged")}
    for name in ("sound1", "sound3"):
        assert [row["reason"] for row in rows[name]].count("unchanged") == 5
    mean = {name: np.mean([row["mri_mean"] for row in rows[name] if row["status"] == "ok"]) for name in ("ok", "late")}
    assert mean["late"] == pytest.approx(mean["ok"], rel=0.2)  # three times as much one frame further


def test_a_clip_whose_sound_alone_is_forged_gives_no_fake_faces(catalog: Path) -> None:
    rows = built(catalog, "pack.kind=faces")
    for name in ("sound0", "sound1", "sound3"):
        assert not any(row["status"] == "ok" for row in rows[name])
    assert sum(row["status"] == "ok" for row in rows["reversed"]) == 6  # searched by itself


def test_what_nothing_proves_is_marked_and_counted(tmp_path: Path) -> None:
    noise, person = np.random.default_rng(0), portraits()[0]

    def still(forged: bool) -> list[np.ndarray]:
        (image,) = person.frames(1, forged=forged)
        return [np.clip(image + noise.normal(0, 2, image.shape), 0, 255).astype(np.uint8) for _ in range(31)]

    catalog = write_set(tmp_path / "clips", {"original": still(False), "fake": still(True)})
    rows = built(catalog)
    assert reasons(rows["original"]) == {("ok", "")}
    assert reasons(rows["fake"]) == {("ok", "alignment: unproven")}
    stats = shard_stats(tmp_path / "set")
    assert {group["label"]: group["unproven"] for group in stats.as_dict()["groups"]} == {"fake": 4, "real": 0}
    assert any(line.startswith("alignment unproven: 4 ") for line in show(stats))
    marks = set()
    for path in (tmp_path / "set").glob("*.tar"):
        with tarfile.open(path) as tar:
            about = [json.loads(tar.extractfile(one).read()) for one in tar if one.name.endswith(".json")]
        marks |= {(one["label"], one.get("alignment")) for one in about}
    assert marks == {("real", None), ("fake", "unproven")}


@pytest.mark.parametrize("grey", ["fake", "original"])
def test_an_mri_of_missing_colours_is_not_stored(tmp_path: Path, grey: str) -> None:
    person = portraits()[0]
    clips = {name: person.frames(11, forged=name != "original") for name in ("original", "fake", "other")}
    clips[grey] = [image.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8) for image in clips[grey]]
    rows = built(write_set(tmp_path / "clips", clips))
    assert reasons(rows["fake"]) == {("dropped", "colourless")}
    assert {status for status, _ in reasons(rows["other"])} == {"ok" if grey == "fake" else "dropped"}
    assert {status for status, _ in reasons(rows["original"])} == {"ok"}
