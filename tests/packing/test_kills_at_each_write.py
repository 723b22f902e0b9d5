"""Killed at each write in turn, or on a disk that fills there, a set ends in the bytes of an undisturbed build: one
that is planned and built, derived from another, repaired."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills import script

SCRIPT = """
import shutil, sys
from pathlib import Path
from mrigan.catalog import Catalog, Clip, clip_id, write_catalog
from mrigan.packing import build_shards, dispatch, plan_from, plan_shards, repair_shards, verify_shards
from mrigan.workers.pool import Done
from tests.clips import counter_frames, write_clip
from tests.kills import same_after_each
from tests.packing.conftest import PNG, config
from tests.packing.videos import SHARP, SIZE, portraits

root, thorough = Path(sys.argv[1]), sys.argv[2] == "all"
points = "" if thorough else "write.done"  # what is on the disk before and after other points is the same, but for one
videos, settings = root / "videos", config(*PNG, "faces.every=10")
videos.mkdir()
clips = []
face = portraits()[0]
for name, split, frames in (("a", "val", lambda forged: face.frames(21, forged)),
                            ("b", "train", lambda forged: counter_frames(2, SIZE))):
    for label in ("real", "fake"):
        fake = label == "fake"
        write_clip(videos / f"{name}-{label}.mp4", frames(fake), options=SHARP)
        original = clip_id("toy", "original", "", f"{name}-real") if fake else None
        clips.append(Clip("toy", "swap" if fake else "original", "", f"{name}-{label}", f"{name}-{label}.mp4", label,
                          original=original, split=split))
write_catalog(Catalog(videos, clips), root / "catalog.parquet")

def one_by_one(setup, arguments, tasks, **_):  # in this process, which is the one to be killed
    work = setup(*arguments)
    for task in tasks:
        yield Done(task, work(task, lambda note: None))

dispatch.run_tasks = one_by_one

def build(folder):
    plan_shards(root / "catalog.parquet", settings, folder / "set")
    build_shards(folder / "set", workers=1)
    assert verify_shards(folder / "set") == []

build(root)  # loads all that a build needs, and is what sets are derived from and repaired to
same_after_each(build, root / "build", points, least=18)
if thorough:
    same_after_each(build, root / "build full", "write.begun", least=18, full=True)

def derive(folder):
    plan_from(root / "set", ["mri.metric=l1"], folder / "set")
    build_shards(folder / "set", workers=1)
    assert verify_shards(folder / "set") == []

if thorough:
    same_after_each(derive, root / "derive", points, least=15)

# When it was built, the fake could not be read. Since then, a shard was damaged, a sidecar lost, and there is a shard
# that no unit has.
about = (videos / "a-fake.mp4").stat()
good = (videos / "a-fake.mp4").read_bytes()
(videos / "a-fake.mp4").write_bytes(b"no video")
build(root / "damaged")
(videos / "a-fake.mp4").write_bytes(good)
damaged = root / "damaged" / "set"
tar = damaged / "val-real-000000.tar"
data = bytearray(tar.read_bytes())
data[5000] ^= 1
tar.write_bytes(data)
for kind in (".tar", ".idx", ".json"):
    shutil.copy((root / "set" / "val-fake-000000").with_suffix(kind), damaged / f"val-real-000000-1{kind}")

def start(folder):
    shutil.copytree(damaged, folder / "set")

def repair(folder):
    assert repair_shards(folder / "set", workers=1).ok
    assert verify_shards(folder / "set") == []

for name in dict.fromkeys((points, "unit", "shard")):
    same_after_each(repair, root / f"repair {name}", name, least=1 if name == "unit" else 3, start=start)
if thorough:
    same_after_each(repair, root / "repair full", "write.begun", least=9, full=True, start=start)
"""


@pytest.mark.parametrize("points", ["some", pytest.param("all", marks=pytest.mark.faults)])
def test_at_each_write_of_a_set(tmp_path: Path, points: str) -> None:
    script(SCRIPT, tmp_path, points)
