"""A clip that a worker does not come back from is a failed row; the rest is built, and a repair makes up for it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mrigan.errors import ShardError
from mrigan.packing import WorkerPool, build_shards, plan_shards, read_rows, repair_shards, unit, verify_shards
from tests.hanging import hanging
from tests.packing.conftest import PNG, Built, config, tree, two_families
from tests.packing.processes import start

# Seconds: less than a lease holds, and more than any of these clips takes on a busy machine.
REASON = "unreadable: took longer than 8 s (limits.seconds_per_file)"


@pytest.fixture
def planned(built: Built, tmp_path: Path) -> Path:
    """A set of the families of Smith (val) and of Hopper (train), not built yet; their videos lie beside it."""
    plan_shards(two_families(built, tmp_path), config(*PNG, "limits.seconds_per_file=8"), tmp_path / "shards")
    return tmp_path / "shards"


def undisturbed(planned: Path) -> dict[str, bytes]:
    fresh = Path(shutil.copytree(planned, planned.with_name("fresh")))
    build_shards(fresh, pool=WorkerPool(workers=1, seconds_per_file=0))
    return tree(fresh)


def test_a_clip_that_hangs_is_a_failed_row_and_no_other_byte_changes(planned: Path) -> None:
    fresh = undisturbed(planned)
    with hanging(planned.with_name("videos") / "hopper-swap.mp4"):
        process = start(planned, "--workers", 2)
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert "hopper-swap.mp4 took longer than 8 s" in "".join(said.split("\n"))
    rows = [row for row in read_rows(planned / "samples.parquet").to_pylist() if row["status"] == "failed"]
    assert [(row["name"], row["reason"]) for row in rows] == [("hopper-swap", REASON)]
    now = tree(planned)
    assert {name: data for name, data in now.items() if "val" in name} == {
        name: data for name, data in fresh.items() if "val" in name
    }
    reals = "train-real-000000.tar"  # of the same unit
    assert now[reals] == fresh[reals]
    assert verify_shards(planned) == []
    repair = repair_shards(planned, only_failed=True, workers=1, seconds_per_file=60)
    assert [clip.split("/")[-1] for clip in repair.read] == ["hopper-swap"]
    assert tree(planned) == fresh


@pytest.mark.faults
def test_an_original_that_hangs_takes_its_pairs_and_not_its_unit(planned: Path) -> None:
    with hanging(planned.with_name("videos") / "hopper.mp4"):
        build_shards(planned, workers=1)
    rows = read_rows(planned / "samples.parquet").to_pylist()
    of_hopper = {row["name"]: (row["status"], row["reason"]) for row in rows if row["name"].startswith("hopper")}
    assert of_hopper == {"hopper": ("failed", REASON), "hopper-swap": ("dropped", "missing_original")}
    assert json.loads((planned / "manifest.json").read_text())["counts"]["real"]


def test_another_limit_is_no_other_plan(planned: Path) -> None:
    plan_shards(planned.with_name("catalog.parquet"), config(*PNG), planned)
    assert json.loads((planned / "plan.json").read_text())["config"]["limits"] == {"seconds_per_file": 600.0}


@contextmanager
def dead(folder: Path) -> Iterator[None]:
    """All files of a folder hang."""
    with ExitStack() as stack:
        for path in folder.iterdir():
            stack.enter_context(hanging(path))
        yield


def test_when_all_videos_hang_and_their_folder_too_no_clip_is_blamed(
    planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder itself is a stand-in: no file system hangs to order when a folder is listed."""
    asked: list[Path] = []

    def listed(folder: Path) -> bool:
        asked.append(folder)
        if len(asked) > 1:  # it was well when the build began
            os.open(planned / "pipe", os.O_RDONLY)
        return True

    os.mkfifo(planned.with_name("pipe"))
    os.replace(planned.with_name("pipe"), planned / "pipe")
    monkeypatch.setattr(unit, "FOLDER_TIMEOUT", 0.5)
    monkeypatch.setattr(unit, "_holds_something", listed)
    with dead(planned.with_name("videos")), pytest.raises(ShardError, match="does not answer"):
        build_shards(planned, workers=1)
    assert not list(planned.glob("units/*.json"))
