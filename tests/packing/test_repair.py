"""What is damaged or could not be read is made again, as a fresh build would make it; nothing else is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mrigan.packing import build_shards, plan_shards, repair_shards, verify_shards
from tests.conftest import ROOT
from tests.packing.conftest import PNG, Built, config, tree, two_families
from tests.packing.test_kills import wait_for
from tests.packing.test_verify import flip


def unit_of(folder: Path, name: str) -> str:
    """The unit that a clip is in."""
    for marker in sorted((folder / "units").glob("*.json")):
        about = json.loads(marker.read_text())
        if any(clip.endswith(f"/{name}") for clip in about["inputs"]):
            return str(about["unit"])
    raise AssertionError(name)


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_damages_are_repaired_and_nothing_else_is_touched(built: Built, copy: Callable[[], Path]) -> None:
    folder = copy()
    broken, cut = unit_of(folder, "broken"), unit_of(folder, "hopper-cut")  # have clips that cannot be read
    collins, blank = unit_of(folder, "collins"), unit_of(folder, "blank")
    flip(folder / "val-fake-000000.tar", 5000)
    (folder / collins.replace("train", "train-real")).with_suffix(".idx").unlink()
    (folder / "units" / f"{blank}.json").unlink()
    before = times(folder)
    repair = repair_shards(folder, only_failed=True, workers=1)
    assert set(repair.rebuilt) == {"val-000000", collins, blank, broken, cut}
    assert "val-fake-000000.tar at byte" in repair.rebuilt["val-000000"]
    assert "is missing" in repair.rebuilt[collins]
    assert repair.ok
    assert repair.read == []
    assert {clip.split("/")[-1] for clip in repair.failing} == {"broken", "hopper-cut", "hopper-empty"}
    assert tree(folder) == tree(built.folder)
    assert verify_shards(folder) == []
    touched = {name for name, at in times(folder).items() if before.get(name) != at}
    orphan = unit_of(folder, "orphan")
    assert not [name for name in touched if orphan in name]
    assert not [name for name in touched if "faces" in name]


def test_a_lost_manifest_or_table_is_merged_again(built: Built, copy: Callable[[], Path]) -> None:
    folder = copy()
    (folder / "manifest.json").unlink()
    flip(folder / "samples.parquet", 200)
    repair = repair_shards(folder, only_failed=True, workers=1)
    assert repair.merged
    assert tree(folder) == tree(built.folder)


@pytest.fixture
def own(built: Built, tmp_path: Path) -> tuple[Path, Path]:
    """Videos that a test may hide, with their catalog: the families of Smith (val) and of Hopper (train)."""
    return tmp_path / "videos", two_families(built, tmp_path)


def built_of(catalog: Path, folder: Path) -> Path:
    plan_shards(catalog, config(*PNG), folder)
    build_shards(folder, workers=1)
    return folder


def test_what_was_unreachable_is_built_once_it_is_there(own: tuple[Path, Path], tmp_path: Path) -> None:
    videos, catalog = own
    (videos / "smith.mp4").rename(tmp_path / "smith.mp4")
    cut = (videos / "hopper-swap.mp4").read_bytes()
    (videos / "hopper-swap.mp4").chmod(0o644)
    (videos / "hopper-swap.mp4").write_bytes(cut[: len(cut) // 2])  # a download that broke off
    folder = built_of(catalog, tmp_path / "shards")
    nothing = tree(folder)
    early = repair_shards(folder, only_failed=True, workers=1)
    assert set(early.rebuilt) == {"train-000000"}  # Smith is still not there; the torn clip was tried again
    assert {clip.split("/")[-1] for clip in early.failing} == {"smith", "hopper-swap"}
    assert tree(folder) == nothing
    (tmp_path / "smith.mp4").rename(videos / "smith.mp4")
    (videos / "hopper-swap.mp4").write_bytes(cut)
    repair = repair_shards(folder, only_failed=True, workers=1)
    assert {clip.split("/")[-1] for clip in repair.read} == {"smith", "hopper-swap"}
    assert (repair.failing, repair.left, repair.merged) == ({}, {}, True)
    assert tree(folder) == tree(built_of(catalog, tmp_path / "fresh"))
    assert repair_shards(folder, only_failed=True, workers=1).rebuilt == {}


def test_a_unit_that_would_come_out_smaller_or_other_is_left(own: tuple[Path, Path], tmp_path: Path) -> None:
    videos, catalog = own
    folder = built_of(catalog, tmp_path / "shards")
    flip(folder / "val-fake-000000.tar", 5000)
    (folder / "train-fake-000000.tar").unlink()
    damaged = tree(folder)
    (videos / "smith.mp4").rename(tmp_path / "smith.mp4")
    hopper = (videos / "hopper.mp4").read_bytes()
    (videos / "hopper.mp4").chmod(0o644)
    (videos / "hopper.mp4").write_bytes(hopper + b"more")
    command = [sys.executable, "shards/repair.py", folder, "--only-failed", "--workers", "1", "--json", "-"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert (told["ok"], told["rebuilt"]) == (False, {})
    assert "its clips are missing now: smith.mp4" in told["left"]["val-000000"]
    assert f"hopper.mp4: {len(hopper)} → {len(hopper) + 4} bytes" in told["left"]["train-000000"]
    assert tree(folder) == damaged


def test_only_failed_leaves_what_no_build_has_made(own: tuple[Path, Path], tmp_path: Path) -> None:
    _, catalog = own
    fresh = built_of(catalog, tmp_path / "fresh")
    plan_shards(catalog, config(*PNG), tmp_path / "shards")
    left = repair_shards(tmp_path / "shards", only_failed=True, workers=1)
    assert (left.rebuilt, left.unbuilt, left.merged) == ({}, ["train-000000", "val-000000"], False)
    assert any("mrigan shards build" in line for line in left.lines())
    made = repair_shards(tmp_path / "shards", workers=1)
    assert set(made.rebuilt) == {"train-000000", "val-000000"}
    assert tree(tmp_path / "shards") == tree(fresh)


@pytest.mark.faults
@pytest.mark.parametrize("moment", range(3))
def test_a_killed_repair_is_taken_up_again(built: Built, copy: Callable[[], Path], moment: int) -> None:
    folder = copy()
    shards = sorted(folder.glob("*.tar"))
    for path in shards:
        flip(path, 700)
    marked = len(list((folder / "units").glob("*.json")))
    command = [sys.executable, "-m", "mrigan.cli", "shards", "repair", str(folder), "--only-failed", "--workers", "1"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(process, lambda: len(list((folder / "units").glob("*.json"))) < marked)
    wait_for(process, lambda: len(list((folder / "units").glob("*.json"))) >= moment)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert verify_shards(folder)
    assert repair_shards(folder, only_failed=True, workers=1).ok
    assert tree(folder) == tree(built.folder)
