"""No value and no byte of a set's own files changes unseen: verify finds it, nobody trains on it or builds with it."""

from __future__ import annotations

import json
import os
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrigan.checked_json import CHECKSUM, write_checked_json
from mrigan.checked_table import read_checked_table, write_checked_table
from mrigan.data import ShardSet
from mrigan.errors import ShardError
from mrigan.files import sha256_file
from mrigan.packing import build_shards, check_shards, plan_shards, repair_shards
from mrigan.packing.derive import plan_from
from mrigan.packing.record import METADATA, SCHEMA
from mrigan.packing.watch import Watch
from tests.packing.bound import (
    JSONS,
    MARKER,
    altered,
    content,
    found,
    leaves,
    own_files,
    replaced,
    small_files,
    trained_on,
)  # fmt: skip
from tests.packing.conftest import PNG, config, make, tree

REGIONS = 4  # of each small file, one bit flipped in each


@pytest.fixture(scope="module")
def other(small: Path) -> Path:
    """Another set of the same clips and faces."""
    return make(plan_from(small, ["faces.margin=0.3"], small.parent / "other"))


@pytest.mark.parametrize("name", JSONS)
def test_each_value_of_each_json_file_is_bound(folder: Path, name: str) -> None:
    path = folder / name
    whole = json.loads(path.read_text())
    good = trained_on(folder)
    ways = list(leaves(whole))
    assert len(ways) > 9
    for way in ways:
        path.write_text(json.dumps(replaced(whole, way, altered)))
        assert found(folder), f"{name}: {way}"
        assert trained_on(folder) in (None, good), f"{name}: {way}"


@pytest.mark.parametrize("name", JSONS)
def test_a_lost_or_doubled_key_is_damage(folder: Path, name: str) -> None:
    path = folder / name
    whole = json.loads(path.read_text())
    for key in whole:
        path.write_text(json.dumps({name: value for name, value in whole.items() if name != key}))
        assert found(folder), f"{name} without {key}"
    path.write_text(path.read_text().replace("{", '{"format": 3, "format": 4, ', 1))
    assert found(folder)


@pytest.mark.parametrize("value", ["7", -7, 1e308, None, [[[]]], {}])
def test_nonsense_with_the_right_checksum_is_found(folder: Path, value: Any) -> None:
    marker = json.loads((folder / MARKER).read_text())
    for key in ("rows", "counts", "rows_bytes", "rows_sha256", "shards", "inputs", "libraries", "unit"):
        write_checked_json(folder / MARKER, marker | {key: value})
        damages = check_shards(folder, full=False, workers=1).damages
        assert {damage.unit for damage in damages} >= {"val-000000"}, key


def test_each_value_of_the_manifest_is_what_the_units_say(folder: Path) -> None:
    whole = json.loads((folder / "manifest.json").read_text())
    del whole[CHECKSUM]
    for way in leaves(whole):
        write_checked_json(folder / "manifest.json", replaced(whole, way, altered))
        assert found(folder), way


@pytest.mark.parametrize(
    "edit", [lambda rows: rows.slice(1), lambda rows: rows.rename_columns(["kez", *rows.column_names[1:]])]
)
def test_another_table_of_the_set_is_found_and_mended_though_the_manifest_agrees(folder: Path, edit: Any) -> None:
    before, manifest = tree(folder), content(folder / "manifest.json")
    rows = pq.read_table(folder / "samples.parquet")
    pq.write_table(edit(rows), folder / "samples.parquet", compression="zstd")
    samples = {"samples_sha256": sha256_file(folder / "samples.parquet")}
    write_checked_json(folder / "manifest.json", {**manifest, **samples})
    assert [damage.file for damage in check_shards(folder).damages] == ["samples.parquet"]
    assert repair_shards(folder, workers=1).ok
    assert tree(folder) == before


def test_a_record_without_a_clip_is_found_and_mended(folder: Path) -> None:
    """Its checksum agrees, and it names the plan."""
    before, record = tree(folder), folder / "inputs.parquet"
    columns, about = read_checked_table(record, METADATA)
    fewer = pa.table({name: values[1:] for name, values in columns.items()}, schema=SCHEMA)
    write_checked_table(record, fewer, METADATA, {"plan_hash": about["plan_hash"]})
    assert [damage.file for damage in check_shards(folder, full=False).damages] == ["inputs.parquet"]
    for marker in (folder / "units").glob("*.json"):
        marker.unlink()
    with pytest.raises(ShardError, match=r"record of the clips is damaged: 1 clips are missing(.|\n)*repair"):
        build_shards(folder, workers=1)
    for name in (name for name in before if name.startswith("units/")):
        (folder / name).write_bytes(before[name])
    assert repair_shards(folder, only_failed=True, workers=1).ok
    assert tree(folder) == before


@pytest.mark.parametrize("key", ["clips", "families", "split", "name"])
def test_a_unit_of_plan_json_that_plan_parquet_contradicts_is_found_and_mended(
    small: Path, folder: Path, key: str
) -> None:
    plan = content(folder / "plan.json")
    write_checked_json(folder / "plan.json", replaced(plan, ("units", 1, key), altered))
    with pytest.raises(ShardError, match=r"plan\.parquet(.|\n)*same plan again"):
        check_shards(folder, full=False)
    plan_shards(small.parent / "catalog.parquet", config(*PNG, "faces.every=5"), folder)
    assert tree(folder) == tree(small)


def test_a_manifest_of_an_earlier_format_makes_no_set_that_is_trained_on(folder: Path) -> None:
    """A manifest of format 3 has no checksum."""
    manifest = content(folder / "manifest.json") | {"format": 3}
    del manifest[CHECKSUM]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match="of two sets"):
        ShardSet.open([folder], "train")


def test_a_flipped_bit_in_each_region_of_each_small_file_is_found_or_changes_nothing(folder: Path) -> None:
    rng, seen = random.Random(0), 0
    good = trained_on(folder)
    for path in small_files(folder):
        whole, before = path.read_bytes(), content(path)
        for region in range(REGIONS):
            start, end = (len(whole) * edge // REGIONS for edge in (region, region + 1))
            data = bytearray(whole)
            at = rng.randrange(start, end)
            data[at] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
            if found(folder):
                seen += 1
                assert trained_on(folder) in (None, good), f"{path.name} at {at}"
            else:
                assert content(path) == before, f"{path.name} at {at}"
        path.write_bytes(whole)
    assert seen > 0.9 * REGIONS * len(small_files(folder))


def test_a_file_of_zeros_or_half_a_file_is_found(folder: Path) -> None:
    for path in small_files(folder):
        whole = path.read_bytes()
        nonsense = (b"[" * 100_000, b"\xff\xfe{}") if path.name in JSONS else ()
        for data in (bytes(len(whole)), whole[: len(whole) // 2], *nonsense):
            path.write_bytes(data)
            assert found(folder), f"{path.name}: {data[:10]!r}"
        path.unlink()
        assert found(folder) or path.parent == folder / "faces", path.name  # found again when they are needed
        path.write_bytes(whole)


def test_files_that_change_places_are_found(folder: Path) -> None:
    for pattern in (
        "units/*.json",
        "units/*.parquet",
        "faces/*.parquet",
        "*-fake-*.json",
        "*-fake-*.idx",
        "*-fake-*.tar",
    ):
        one, two = sorted(folder.glob(pattern))[:2]
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)
        assert found(folder), pattern
        one.write_bytes(first)
        two.write_bytes(second)
    assert not found(folder)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "circle of links"])
def test_what_stands_in_place_of_a_file_is_said_in_words(folder: Path, kind: str) -> None:
    """Whoever reads a pipe waits for ever, and a device swallows what is written: nothing may open them."""
    whole = tree(folder)
    for path in [*own_files(folder), *(folder / "log").iterdir()]:
        data = path.read_bytes()
        path.unlink()
        {"pipe": os.mkfifo, "device": lambda path: path.symlink_to(os.devnull), "folder": Path.mkdir,
         "circle of links": lambda path: path.symlink_to(path.name)}[kind](path)  # fmt: skip
        name = path.relative_to(folder)
        assert found(folder) or path.parent.name == "log", name
        trained_on(folder)
        with suppress(ShardError):
            Watch(folder).look()
        if kind != "circle of links":  # nothing can be written into one
            with pytest.raises(ShardError, match=f"{path.name}(.|\n)*to do:"):
                build_shards(folder, workers=1)
        path.rmdir() if kind == "folder" else path.unlink()
        path.write_bytes(data)
    assert tree(folder) == whole


def test_files_of_another_set_are_found(folder: Path, other: Path) -> None:
    for path in own_files(folder):
        stranger = other / path.relative_to(folder)
        whole = path.read_bytes()
        if stranger.is_file() and stranger.read_bytes() != whole:
            path.write_bytes(stranger.read_bytes())
            assert found(folder), path.name
            path.write_bytes(whole)
    assert not found(folder)


@pytest.mark.faults
def test_a_thousand_random_flips_over_all_files(folder: Path) -> None:
    rng, files, good, seen = random.Random(1), own_files(folder), trained_on(folder), 0
    for number in range(1000):
        path = rng.choice(files if number % 2 else small_files(folder))
        whole, before = path.read_bytes(), content(path)
        at = rng.randrange(len(whole))
        data = bytearray(whole)
        data[at] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        if found(folder, full=True):
            seen += 1
            assert trained_on(folder) in (None, good), f"{path.name} at {at}"
        else:
            assert content(path) == before, f"{path.name} at {at}"
        path.write_bytes(whole)
    assert seen > 900
