"""Clips that are damaged inside: no sample of what the damage reaches, a failed row, and a repair that finds it."""

from __future__ import annotations

import shutil
from pathlib import Path

import av

from mrigan.catalog import Catalog, Clip, clip_id, write_catalog
from mrigan.packing import build_shards, check_shards, plan_shards, repair_shards
from mrigan.shardset.rows import read_rows
from tests.clips import write_clip
from tests.packing.conftest import PNG, config, tree
from tests.packing.videos import portraits


def dig(path: Path, first: int, last: int) -> None:
    """Fill the packets `first` to `last` with zeros, as a lost block of a disk; the file keeps its length."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for pos, size in packets[first : last + 1]:
        data[pos : pos + size] = bytes(size)
    path.write_bytes(data)


def test_damaged_clips_give_sound_samples_and_failed_rows(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    source = clip_id("toy", "original", "", "smith")
    clips = [Clip("toy", "original", "", "smith", "smith.mp4", "real", split="val"),
             Clip("toy", "swap", "", "smith-swap", "smith-swap.mp4", "fake", original=source, split="val")]  # fmt: skip
    smith = portraits()[0].mirrored()
    options = {"crf": "10", "preset": "ultrafast", "g": "20"}
    for clip in clips:
        write_clip(videos / clip.path, smith.frames(41, forged=clip.name == "smith-swap"), options=options)
    whole = {clip.path: (videos / clip.path).read_bytes() for clip in clips}
    write_catalog(Catalog(videos, clips), tmp_path / "catalog.parquet")

    def build(name: str) -> Path:
        plan_shards(tmp_path / "catalog.parquet", config(*PNG), tmp_path / name)
        build_shards(tmp_path / name, workers=1)
        return tmp_path / name

    fresh = build("fresh")
    every = {(r["name"], r["frame"]) for r in read_rows(fresh / "samples.parquet").to_pylist() if r["status"] == "ok"}
    sampled = sorted({frame for name, frame in every if name == "smith"})
    assert sampled[0] == 0
    assert sampled[-1] > 35

    dig(videos / "smith.mp4", 5, 12)  # the first group, from its sixth frame on
    dig(videos / "smith-swap.mp4", 31, 33)  # in the second group, between two frames that are asked for
    damaged = build("damaged")
    rows = read_rows(damaged / "samples.parquet").to_pylist()
    stored = {(r["name"], r["frame"]) for r in rows if r["status"] == "ok"}
    lost = {"smith": set(range(5, 20)), "smith-swap": set(range(5, 20)) | set(range(31, 41))}
    sound = {(name, frame) for name, frame in every if frame not in lost[name]}
    assert stored <= sound
    assert len(stored) >= len(sound) - 1  # a pair beside the hole may lack the neighbours that prove it
    failed = {r["name"]: r["reason"] for r in rows if r["status"] == "failed"}
    assert failed["smith"] == "unreadable: 15 of 41 frames are damaged or cannot be decoded"
    assert failed["smith-swap"].startswith("unreadable: ")
    check = check_shards(damaged)
    assert check.ok
    assert sum(check.failed.values()) == 2
    assert any("could not be read" in line for line in check.lines())

    for path, content in whole.items():
        (videos / path).write_bytes(content)
    repair = repair_shards(damaged, only_failed=True, workers=1)
    assert {clip.split("/")[-1] for clip in repair.read} == {"smith", "smith-swap"}
    assert check_shards(damaged).failed == {}
    again = {(r["name"], r["frame"]) for r in read_rows(damaged / "samples.parquet").to_pylist() if r["status"] == "ok"}
    assert again == every
    shutil.rmtree(fresh)
    assert tree(damaged) == tree(build("fresh"))
