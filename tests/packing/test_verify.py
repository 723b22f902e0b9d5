"""Whatever byte of a shard is wrong or missing, verify says so, and where."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mrigan.errors import ShardError
from mrigan.packing import plan_shards, read_rows, verify_shards
from tests.packing.conftest import Built, config

SHARD = "train-fake-000001.tar"


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def last_sample(folder: Path, shard: str) -> dict[str, int]:
    rows = [row for row in read_rows(folder / "samples.parquet").to_pylist() if row["shard"] == shard]
    return max(rows, key=lambda row: row["face_offset"])


def test_a_whole_set_is_well(built: Built) -> None:
    assert verify_shards(built.folder) == []
    assert verify_shards(built.folder, full=False) == []


@pytest.mark.parametrize("seed", range(2))
def test_one_flipped_byte_is_found_and_located(copy: Callable[[], Path], seed: int) -> None:
    folder = copy()
    path = folder / SHARD
    used = last_sample(folder, SHARD)
    for _ in range(4):
        whole = path.read_bytes()
        at = random.Random(seed).randrange(used["json_offset"] + used["json_size"])
        flip(path, at)
        found = verify_shards(folder)
        assert {damage.file for damage in found} == {SHARD}
        offsets = [damage.offset for damage in found if damage.offset is not None]
        assert any(offset <= at < offset + 200_000 for offset in offsets)  # the sample that it is in
        path.write_bytes(whole)
        seed += 100


def test_a_changed_end_of_the_archive_is_found(copy: Callable[[], Path]) -> None:
    folder = copy()
    flip(folder / SHARD, (folder / SHARD).stat().st_size - 1)
    assert ["SHA-256" in damage.what for damage in verify_shards(folder)] == [True]


@pytest.mark.parametrize("full", [True, False])
def test_a_shard_cut_at_a_member_boundary_is_found(copy: Callable[[], Path], full: bool) -> None:
    folder = copy()
    last = last_sample(folder, SHARD)
    cut = last["face_offset"] - 512
    with open(folder / SHARD, "r+b") as file:
        file.truncate(cut)
    found = verify_shards(folder, full=full)
    assert any(damage.file == SHARD and damage.offset == cut and "bytes" in damage.what for damage in found)
    assert any(f"sample {last['key']} is truncated" in damage.what for damage in found)
    (folder / SHARD).write_bytes(b"")
    assert any("has 0 of" in damage.what for damage in verify_shards(folder, full=full))


def test_lost_files_are_found(copy: Callable[[], Path]) -> None:
    folder = copy()
    for name in (SHARD, "val-fake-000000.idx", "val-real-000000.json", "units/train-000002.json"):
        (folder / name).unlink()
    found = {damage.file: damage.what for damage in verify_shards(folder)}
    assert set(found) == {SHARD, "val-fake-000000.idx", "val-real-000000.json", "units/train-000002.json"}
    assert "samples" in found[SHARD]


def test_a_shard_of_another_plan_is_found(built: Built, copy: Callable[[], Path]) -> None:
    folder = copy()
    for suffix in (".tar", ".idx", ".json"):
        shutil.copy(folder / f"val-fake-000000{suffix}", folder / f"val-fake-000001{suffix}")
    other = json.loads((folder / "val-fake-000001.json").read_text()) | {"plan_hash": "0" * 64}
    (folder / "val-fake-000001.json").write_text(json.dumps(other))
    assert [(d.file, d.what) for d in verify_shards(folder)] == [("val-fake-000001.tar", "is a shard of another plan")]
    shutil.copy(folder / "val-fake-000000.tar", folder / SHARD)  # under the name of one of ours
    assert {damage.file for damage in verify_shards(folder, full=False)} == {"val-fake-000001.tar", SHARD}


def test_a_changed_table_or_index_is_found(copy: Callable[[], Path]) -> None:
    folder = copy()
    index = folder / SHARD.replace(".tar", ".idx")
    index.write_text(index.read_text().replace(" face.jpg", " face.jpeg", 1).replace("v1.2", "v1.1"))
    assert [damage.file for damage in verify_shards(folder, full=False)] == [index.name]
    flip(folder / "samples.parquet", 100)
    assert any(damage.file == "samples.parquet" for damage in verify_shards(folder))


def test_an_unfinished_set_is_not_well(built: Built, tmp_path: Path) -> None:
    plan_shards(built.catalog, config(), tmp_path / "out")
    found = [damage.file for damage in verify_shards(tmp_path / "out")]
    assert "manifest.json" in found
    assert "units/train-000000.json" in found
    with pytest.raises(ShardError, match="no shard plan"):
        verify_shards(tmp_path)
