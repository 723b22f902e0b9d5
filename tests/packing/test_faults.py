"""Disks that fill up, videos that vanish, a clip that kills whoever opens it: every failure is a row with its reason,
and once the cause is gone, the set is byte for byte that of an undisturbed build."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mrigan.catalog import Catalog, write_catalog
from mrigan.packing import build_shards, plan_shards, read_rows, repair_shards, verify_shards
from mrigan.packing.watch import Watch
from mrigan.shardset.layout import Layout
from mrigan.shardset.leftovers import leftovers
from tests.packing.conftest import PNG, Built, config, tree
from tests.packing.processes import start, wait_for, workers


@pytest.fixture
def videos(built: Built, tmp_path: Path) -> Path:
    """A copy of the videos; the plan is the same as that of `built`."""
    return Path(shutil.copytree(built.clips.root, tmp_path / "videos"))


@pytest.fixture
def folder(built: Built, videos: Path, tmp_path: Path) -> Path:
    """A planned folder of those videos."""
    write_catalog(Catalog(videos, built.clips.clips), tmp_path / "catalog.parquet")
    plan_shards(tmp_path / "catalog.parquet", config(*PNG), tmp_path / "shards")
    return tmp_path / "shards"


def same(folder: Path, built: Built) -> bool:
    """But for the plan, which says where the videos lie and of what time they are."""
    theirs, ours = tree(built.folder), tree(folder)
    for name in ("plan.json", "inputs.parquet"):
        del theirs[name], ours[name]
    return theirs == ours


def reasons(folder: Path, name: str) -> Counter[tuple[str, str]]:
    rows = read_rows(folder / "samples.parquet").to_pylist()
    return Counter((row["status"], row["reason"].split(":")[0]) for row in rows if row["name"] == name)


@pytest.mark.faults
def test_a_video_that_vanishes_is_a_failed_row_and_can_be_made_up_for(
    built: Built, videos: Path, folder: Path, tmp_path: Path
) -> None:
    process = start(folder, "--workers", 1)
    wait_for(process, lambda: any(folder.glob("units/*.json")))  # in the middle: val is the last unit
    (videos / "smith-swap.mp4").rename(tmp_path / "away.mp4")
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert reasons(folder, "smith-swap") == {("failed", "unreadable"): 1}
    assert reasons(folder, "smith")["ok", ""] == 7
    assert not same(folder, built)
    (tmp_path / "away.mp4").rename(videos / "smith-swap.mp4")
    repair = repair_shards(folder, only_failed=True, workers=1)
    assert repair.read == ["toy/swap/-/smith-swap"]
    assert same(folder, built)
    assert verify_shards(folder) == []


@pytest.mark.parametrize("unmounted", [True, pytest.param(False, marks=pytest.mark.faults)])
def test_when_all_videos_vanish_the_build_stops_and_no_clip_is_blamed(
    built: Built, videos: Path, folder: Path, tmp_path: Path, unmounted: bool
) -> None:
    process = start(folder, "--workers", 1)
    wait_for(process, lambda: any(folder.glob("units/*.json")))
    videos.rename(tmp_path / "away")
    if unmounted:
        videos.mkdir()  # the mount point is still there
    _, said = process.communicate()
    assert process.returncode == 1, said
    assert ("is empty" if unmounted else "is not there") in said
    assert str(videos) in said.replace("\n", "")
    built_units = list(folder.glob("units/*.json"))
    assert 0 < len(built_units) < 6
    shutil.rmtree(videos, ignore_errors=True)
    (tmp_path / "away").rename(videos)
    build_shards(folder, workers=2)
    assert same(folder, built)


@contextmanager
def deadly(pid: int, clip: str) -> Iterator[None]:
    """Every worker of the builder `pid` that opens the clip is killed, as the kernel does when its memory runs out."""
    stopped = threading.Event()

    def hunt() -> None:
        while not stopped.wait(0.002):
            for worker in workers(pid):
                if any(path.endswith(clip) for path in opened(worker)):
                    os.kill(worker, signal.SIGKILL)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        yield
    finally:
        stopped.set()
        hunter.join()


def opened(pid: int) -> list[str]:
    try:
        return [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


@pytest.mark.faults
def test_a_deadly_clip_takes_its_unit_and_if_told_only_its_family(built: Built, folder: Path) -> None:
    process = start(folder)
    with deadly(process.pid, "/collins.mp4"):
        _, said = process.communicate()
    assert process.returncode == 1
    assert "1 of 6 units could not be built" in said
    assert "SIGKILL" in said
    assert "at the family toy/original/-/collins" in said
    assert "--skip-deadly" in said
    view = Watch(folder).look()
    assert (view.done, list(view.failed)) == (5, ["train-000001"])
    assert "toy/original/-/collins" in view.failed["train-000001"]

    process = start(folder, "--workers", 2, "--skip-deadly")
    with deadly(process.pid, "/collins.mp4"):
        _, said = process.communicate()
    assert process.returncode == 0, said
    for name in ("collins", "collins-swap", "collins-late"):
        assert reasons(folder, name) == {("failed", "deadly"): 1}
    assert not Watch(folder).look().failed
    repair = repair_shards(folder, only_failed=True, workers=1)
    assert len(repair.read) == 5
    assert same(folder, built)


@pytest.mark.faults
def test_a_full_disk_and_then_a_larger_one(built: Built, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        folder = disk / "shards"
        plan_shards(built.catalog, config(*PNG), folder)
        process = start(folder)
        _, said = process.communicate()
        assert process.returncode == 1, said
        assert "no room left to write" in said
        assert "Traceback" not in said
        assert not leftovers(Layout(folder))
        for path in folder.glob("*.tar"):
            assert path.read_bytes() == (built.folder / path.name).read_bytes()
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        build_shards(folder, workers=2)
        assert tree(folder) == tree(built.folder)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.faults
def test_two_builders_and_a_third_that_only_finishes(built: Built, folder: Path) -> None:
    """All at once; one is killed, one writes the manifest while others clean."""
    crowd = [start(folder), start(folder), start(folder, "--task", 1, "--of", 2)]
    wait_for(crowd[0], lambda: any(folder.glob("units/*.json")))
    for pid in (crowd[0].pid, *workers(crowd[0].pid)):
        os.kill(pid, signal.SIGKILL)
    codes = [process.communicate() and process.returncode for process in crowd]
    assert codes == [-signal.SIGKILL, 0, 0]
    build_shards(folder, workers=1)
    assert same(folder, built)
    assert not leftovers(Layout(folder))
